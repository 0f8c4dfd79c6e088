/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a program can do with a frame, and the counting of it. */
#ifndef ONLINK_VERDICT_H
#define ONLINK_VERDICT_H

#include "maps.h"

/* Untouched: the next tcx program or tc filter, then the stack, as if onlink were not there. */
#define UNTOUCHED TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

/* The time in ns, CLOCK_MONOTONIC, as of the last tick: for what nobody needs to the millisecond, at a third of the price. */
static __always_inline __u64 coarse_now(void)
{
	return bpf_ktime_get_coarse_ns();
}

/* On the whole alone: frames of flows, which get to their vif with the flow's own counts (flow-count.h). */
static __always_inline void count_total(const struct __sk_buff *skb, __u32 reason)
{
	struct counter *total = bpf_map_lookup_elem(&counters, &reason);

	if (total) {
		total->frames++;
		total->bytes += skb->len;
	}
}

/* vif 0: the frame could not be given to a vif. */
static __always_inline void count(const struct __sk_buff *skb, __u32 vif, __u32 reason)
{
	struct vif_counters *of_vif;
	struct counter *counter;

	count_total(skb, reason);
	of_vif = bpf_map_lookup_elem(&vif_counters, &vif);
	if (of_vif && reason < REASON_COUNT) {
		counter = &of_vif->reasons[reason];
		__sync_fetch_and_add(&counter->frames, 1);
		__sync_fetch_and_add(&counter->bytes, skb->len);
		counter->last = coarse_now();
	}
}

static __always_inline int untouched(const struct __sk_buff *skb, __u32 vif, __u32 reason)
{
	count(skb, vif, reason);
	return UNTOUCHED;
}

static __always_inline int drop(const struct __sk_buff *skb, __u32 vif, __u32 reason)
{
	count(skb, vif, reason);
	return DROP;
}

#endif
