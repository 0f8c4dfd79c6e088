/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a program can do with a frame, and the counting of it. */
#ifndef ONLINK_VERDICT_H
#define ONLINK_VERDICT_H

#include "maps.h"

/* Untouched: the next tcx program or tc filter, then the stack, as if onlink were not there. */
#define UNTOUCHED TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT

/* vif 0: the frame could not be given to a vif. */
static __always_inline void count(const struct __sk_buff *skb, __u32 vif, __u32 reason)
{
	struct vif_counters *of_vif;
	struct counter *total = bpf_map_lookup_elem(&counters, &reason);

	if (total) {
		total->frames++;
		total->bytes += skb->len;
	}
	of_vif = bpf_map_lookup_elem(&vif_counters, &vif);
	if (of_vif && reason < REASON_COUNT) {
		of_vif->reasons[reason].frames++;
		of_vif->reasons[reason].bytes += skb->len;
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
