/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a vif's guest is seen to do towards services, other than in open flows: for the host to reach it, and for people to see. */
#ifndef ONLINK_LEARN_H
#define ONLINK_LEARN_H

#include "parse.h"

/*
 * From an IPv4 frame to a service address that nothing is wrong with: so that the host can reach a guest whose address nobody configured, and
 * an operator sees whom the guest takes the service to be.
 */
static __always_inline void learn_guest(const struct frame *frame, __u32 ifindex)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &ifindex);

	if (!state)
		return;
	state->guest = from_ipv4(frame->head.ip.saddr);
	copy_mac(state->guest_mac, frame->head.eth.h_source);
	state->sent_to = from_ipv4(frame->head.ip.daddr);
	copy_mac(state->sent_to_mac, frame->head.eth.h_dest);
	state->sent_at = coarse_now();
}

/* From a frame in an open flow: the MACs may change, with the guest's routes or those whom it routes to. */
static __always_inline void learn_macs(const struct frame *frame, struct flow *flow, __u32 ifindex)
{
	if (is_same_mac(flow->guest_mac, frame->head.eth.h_source) && is_same_mac(flow->service_mac, frame->head.eth.h_dest))
		return;
	copy_mac(flow->guest_mac, frame->head.eth.h_source);
	copy_mac(flow->service_mac, frame->head.eth.h_dest);
	learn_guest(frame, ifindex);
}

/* From a frame that row I7 drops. */
static __always_inline void learn_spoofed(const struct frame *frame, __u32 ifindex)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &ifindex);

	if (!state)
		return;
	state->spoofed = from_ipv4(frame->head.ip.saddr);
	state->spoofed_at = coarse_now();
}

/* From an ARP request that is no probe. */
static __always_inline void learn_arp_request(const struct ip_address *target, __u32 ifindex, bool answered)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &ifindex);

	if (!state)
		return;
	state->asked = *target;
	state->asked_at = coarse_now();
	if (answered) {
		state->answered = *target;
		state->answered_at = state->asked_at;
	}
}

#endif
