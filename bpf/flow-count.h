/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What goes through flows. Frames are counted by flow, and added to what its vif and its service have by the sweep: some additions for a flow in two
 * seconds, and none for a frame, for which all CPUs would have to write to the same place.
 */
#ifndef ONLINK_FLOW_COUNT_H
#define ONLINK_FLOW_COUNT_H

#include "maps.h"

/* Those of a service, made where there are none yet; NULL where there is no room. */
static __always_inline struct service_counters *counters_of_service(__u32 service)
{
	struct service_counters none = {}, *found = bpf_map_lookup_elem(&service_counters, &service);

	if (found || bpf_map_update_elem(&service_counters, &service, &none, BPF_NOEXIST))
		return found;
	return bpf_map_lookup_elem(&service_counters, &service);
}

static __always_inline void count_opened(__u32 service)
{
	struct service_counters *counters = counters_of_service(service);

	if (counters)
		__sync_fetch_and_add(&counters->flows, 1);
}

static __always_inline void count_refused(__u32 service)
{
	struct service_counters *counters = counters_of_service(service);

	if (counters)
		__sync_fetch_and_add(&counters->refused, 1);
}

/*
 * How much a count has grown since the last time; of two CPUs at once one gets it. `added` is read first and only moves forward, so whatever reopen()
 * does meanwhile, nothing is taken twice.
 */
static __always_inline __u64 take_growth(__u64 *added, const __u64 *count)
{
	__u64 before = *(volatile __u64 *)added, now = *(volatile const __u64 *)count;

	if (now <= before || __sync_val_compare_and_swap(added, before, now) != before)
		return 0;
	return now - before;
}

/* Takes a count back to zero, but for what came since it was added. The count goes first: until both are done, there seems to be nothing to add. */
static __always_inline void take_back(__u64 *count, __u64 *added)
{
	__u64 before = *added;

	__sync_fetch_and_sub(count, before);
	__sync_fetch_and_sub(added, before);
}

static __always_inline void add_to_counter(struct counter *counter, __u64 frames, __u64 bytes, __u64 last)
{
	if (!frames && !bytes)
		return;
	__sync_fetch_and_add(&counter->frames, frames);
	__sync_fetch_and_add(&counter->bytes, bytes);
	if (counter->last < last)
		counter->last = last;
}

/* What a flow has carried since the last time. */
static __always_inline void add_counts(const struct flow_key *key, struct flow *flow)
{
	__u64 frames_out, bytes_out, frames_in, bytes_in;
	struct service_counters *of_service;
	struct vif_counters *of_vif;

	frames_out = take_growth(&flow->added_frames_out, &flow->frames_out);
	bytes_out = take_growth(&flow->added_bytes_out, &flow->bytes_out);
	frames_in = take_growth(&flow->added_frames_in, &flow->frames_in);
	bytes_in = take_growth(&flow->added_bytes_in, &flow->bytes_in);
	if (!frames_out && !bytes_out && !frames_in && !bytes_in)
		return;
	of_vif = bpf_map_lookup_elem(&vif_counters, &key->vif);
	if (of_vif) {
		add_to_counter(&of_vif->reasons[REASON_FORWARDED], frames_out, bytes_out, flow->last_seen);
		add_to_counter(&of_vif->reasons[REASON_RETURNED], frames_in, bytes_in, flow->last_seen);
	}
	of_service = bpf_map_lookup_elem(&service_counters, &flow->service);
	if (of_service) {
		__sync_fetch_and_add(&of_service->frames_out, frames_out);
		__sync_fetch_and_add(&of_service->bytes_out, bytes_out);
		__sync_fetch_and_add(&of_service->frames_in, frames_in);
		__sync_fetch_and_add(&of_service->bytes_in, bytes_in);
	}
}

#endif
