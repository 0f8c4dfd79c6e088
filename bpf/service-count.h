/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What services are used. Frames are counted by flow, and carried over to the service by the sweep: one addition for a flow in some seconds, and none
 * for a frame.
 */
#ifndef ONLINK_SERVICE_COUNT_H
#define ONLINK_SERVICE_COUNT_H

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

/* What a flow has carried since the last time. Two CPUs at once, the sweep and one that ends the flow, may add the same twice. */
static __always_inline void add_to_service(struct flow *flow)
{
	__u64 frames_out = flow->frames_out, bytes_out = flow->bytes_out, frames_in = flow->frames_in, bytes_in = flow->bytes_in;
	struct service_counters *counters;

	if (frames_out == flow->added_frames_out && frames_in == flow->added_frames_in)
		return;
	counters = bpf_map_lookup_elem(&service_counters, &flow->service);
	if (!counters)
		return;
	/* The flow began anew (open_flow) while another CPU was here: nothing of the new one stands in the counters yet. */
	if (frames_out < flow->added_frames_out || frames_in < flow->added_frames_in) {
		flow->added_frames_out = flow->added_bytes_out = flow->added_frames_in = flow->added_bytes_in = 0;
		return;
	}
	__sync_fetch_and_add(&counters->frames_out, frames_out - flow->added_frames_out);
	__sync_fetch_and_add(&counters->bytes_out, bytes_out - flow->added_bytes_out);
	__sync_fetch_and_add(&counters->frames_in, frames_in - flow->added_frames_in);
	__sync_fetch_and_add(&counters->bytes_in, bytes_in - flow->added_bytes_in);
	flow->added_frames_out = frames_out;
	flow->added_bytes_out = bytes_out;
	flow->added_frames_in = frames_in;
	flow->added_bytes_in = bytes_in;
}

#endif
