/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How often something may happen, for what a guest can provoke. */
#ifndef ONLINK_LIMIT_H
#define ONLINK_LIMIT_H

#define NS_PER_S 1000000000ULL

/*
 * GCRA: `tat` is when the next one would be due if they came evenly. One may come early, by up to `burst` - 1 intervals. Two CPUs at once
 * may let one through too many.
 */
static __always_inline bool allow(__u64 *tat, __u64 now, __u64 interval, __u32 burst)
{
	__u64 due = *tat > now ? *tat : now;

	if (due - now > (burst - 1) * interval)
		return false;
	*tat = due + interval;
	return true;
}

#endif
