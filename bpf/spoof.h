/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Row I7: who a guest says it is. */
#ifndef ONLINK_SPOOF_H
#define ONLINK_SPOOF_H

#include "event.h"
#include "learn.h"
#include "parse.h"

static __always_inline bool is_spoofed(const struct frame *frame, const struct settings *settings, const struct vif *vif, __u32 ifindex)
{
	struct vif_address key = { .address = from_ipv4(frame->head.ip.saddr), .vif = ifindex };
	bool link_local = is_link_local_ipv4(frame->head.ip.saddr);

	if (!(vif->flags & VIF_ANTI_SPOOF))
		return false;
	if (is_same_mac(frame->head.eth.h_source, settings->gateway_mac))
		return true;
	if ((link_local || settings->other_addresses) && bpf_map_lookup_elem(&service_addresses, &key.address))
		return true;
	/* The first of a guest's addresses, in most cases the only one, stands in the vif itself. */
	return vif->flags & VIF_HAS_ADDRESSES && !link_local && !is_same_address(&key.address, &vif->guest) &&
	       !bpf_map_lookup_elem(&vif_addresses, &key);
}

static __always_inline int drop_spoofed(const struct __sk_buff *skb, const struct frame *frame)
{
	struct event *event;

	/* Before the event is reserved: with anything in between, clang compares it with NULL twice (see reserve_event). */
	learn_spoofed(frame, skb->ifindex);
	event = reserve_limited_event(EVENT_SPOOFED, skb->ifindex);
	if (event) {
		event->guest = from_ipv4(frame->head.ip.saddr);
		event->service = from_ipv4(frame->head.ip.daddr);
		event->protocol = frame->head.ip.protocol;
		copy_mac(event->mac, frame->head.eth.h_source);
		bpf_ringbuf_submit(event, 0);
	}
	return drop(skb, skb->ifindex, REASON_SPOOFED);
}

#endif
