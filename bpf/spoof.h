/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Row I7: who a guest says it is; and what is learned from those who pass. */
#ifndef ONLINK_SPOOF_H
#define ONLINK_SPOOF_H

#include "event.h"
#include "parse.h"

static __always_inline bool is_spoofed(const struct frame *frame, const struct settings *settings, const struct vif *vif, __u32 ifindex)
{
	struct vif_address key = { .address = from_ipv4(frame->head.ip.saddr), .vif = ifindex };

	if (!(vif->flags & VIF_ANTI_SPOOF))
		return false;
	if (is_same_mac(frame->head.eth.h_source, settings->gateway_mac) || bpf_map_lookup_elem(&service_addresses, &key.address))
		return true;
	return vif->flags & VIF_HAS_ADDRESSES && !is_link_local_ipv4(frame->head.ip.saddr) && !bpf_map_lookup_elem(&vif_addresses, &key);
}

static __always_inline int drop_spoofed(const struct __sk_buff *skb, const struct frame *frame)
{
	struct event *event = reserve_limited_event(EVENT_SPOOFED, skb->ifindex);

	if (event) {
		event->guest = from_ipv4(frame->head.ip.saddr);
		event->service = from_ipv4(frame->head.ip.daddr);
		event->protocol = frame->head.ip.protocol;
		__builtin_memcpy(event->mac, frame->head.eth.h_source, ETH_ALEN);
		bpf_ringbuf_submit(event, 0);
	}
	return drop(skb, skb->ifindex, REASON_SPOOFED);
}

/* So that the host can reach a guest whose address nobody configured. Written only when it changes. */
static __always_inline void learn_guest(const struct frame *frame, __u32 ifindex)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &ifindex);
	struct ip_address guest = from_ipv4(frame->head.ip.saddr);

	if (!state || (is_same_address(&state->guest, &guest) && is_same_mac(state->guest_mac, frame->head.eth.h_source)))
		return;
	state->guest = guest;
	__builtin_memcpy(state->guest_mac, frame->head.eth.h_source, ETH_ALEN);
}

#endif
