/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Rows A1 to A5: ARP from the guest (RFC 826, RFC 5227). */
#ifndef ONLINK_ARP_H
#define ONLINK_ARP_H

#include "event.h"
#include "learn.h"
#include "parse.h"

/* RFC 5227 s. 1.1. */
#define DEFEND_INTERVAL_NS (10 * NS_PER_S)

/* An ARP packet for IPv4 over Ethernet, with its Ethernet header. */
struct eth_arp {
	struct ethhdr eth;
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender_ip;
	__u8 target_mac[ETH_ALEN];
	__be32 target_ip;
} __attribute__((packed));

static __always_inline bool read_arp(struct __sk_buff *skb, struct eth_arp *arp)
{
	void *data;

	if (!make_linear(skb, sizeof(*arp)))
		return false;
	data = (void *)(long)skb->data;
	if (data + sizeof(*arp) > (void *)(long)skb->data_end)
		return false;
	__builtin_memcpy(arp, data, sizeof(*arp));
	return arp->hardware_type == bpf_htons(ARPHRD_ETHER) && arp->protocol_type == bpf_htons(ETH_P_IP) &&
	       arp->hardware_length == ETH_ALEN && arp->protocol_length == sizeof(__be32);
}

static __always_inline int send_arp(struct __sk_buff *skb, const struct eth_arp *arp, __u32 reason)
{
	if (bpf_skb_store_bytes(skb, 0, arp, sizeof(*arp), 0))
		return drop(skb, skb->ifindex, REASON_MALFORMED);
	count(skb, skb->ifindex, reason);
	return bpf_redirect(skb->ifindex, 0);
}

/* The request, turned round: sender = what was asked for, at the gateway MAC; target = the asker. */
static __always_inline int reply_arp(struct __sk_buff *skb, struct eth_arp *arp, const struct settings *settings, bool broadcast,
				     __u32 reason)
{
	__be32 asked = arp->target_ip;

	__builtin_memcpy(arp->eth.h_dest, arp->sender_mac, ETH_ALEN);
	if (broadcast) /* RFC 3927 s. 2.5 */
		__builtin_memset(arp->eth.h_dest, 0xff, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_source, settings->gateway_mac, ETH_ALEN);
	arp->operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	arp->target_ip = arp->sender_ip;
	__builtin_memcpy(arp->sender_mac, settings->gateway_mac, ETH_ALEN);
	arp->sender_ip = asked;
	return send_arp(skb, arp, reason);
}

/* Row A3: the claim goes no further; the address is defended by an announcement, not more often than DEFEND_INTERVAL (RFC 5227 s. 2.4). */
static __always_inline int defend(struct __sk_buff *skb, struct eth_arp *arp, const struct settings *settings)
{
	struct defence_key key = { .address = from_ipv4(arp->sender_ip), .vif = skb->ifindex };
	__u64 *last = bpf_map_lookup_elem(&defences, &key), now = bpf_ktime_get_ns();
	struct event *event = reserve_limited_event(EVENT_CONFLICT, skb->ifindex);

	if (event) {
		event->service = key.address;
		__builtin_memcpy(event->mac, arp->sender_mac, ETH_ALEN);
		bpf_ringbuf_submit(event, 0);
	}
	if (last && now - *last < DEFEND_INTERVAL_NS)
		return drop(skb, skb->ifindex, REASON_ARP_CONFLICT);
	bpf_map_update_elem(&defences, &key, &now, BPF_ANY);
	__builtin_memset(arp->eth.h_dest, 0xff, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_source, settings->gateway_mac, ETH_ALEN);
	arp->operation = bpf_htons(ARPOP_REQUEST);
	__builtin_memcpy(arp->sender_mac, settings->gateway_mac, ETH_ALEN);
	__builtin_memset(arp->target_mac, 0, ETH_ALEN);
	arp->target_ip = arp->sender_ip;
	return send_arp(skb, arp, REASON_ARP_CONFLICT);
}

static __noinline int arp_from_guest(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	__u32 ifindex = skb->ifindex;
	struct vif *vif = bpf_map_lookup_elem(&vifs, &ifindex);
	struct ip_address sender, target;
	struct eth_arp arp;
	bool ours;

	if (!settings || !vif)
		return UNTOUCHED;
	if (!read_arp(skb, &arp))
		return untouched(skb, ifindex, REASON_ARP_OTHER);
	sender = from_ipv4(arp.sender_ip);
	if (bpf_map_lookup_elem(&service_addresses, &sender))
		return defend(skb, &arp, settings);
	target = from_ipv4(arp.target_ip);
	if (arp.operation != bpf_htons(ARPOP_REQUEST))
		return untouched(skb, ifindex, REASON_ARP_OTHER);
	ours = bpf_map_lookup_elem(&service_addresses, &target);
	if (arp.sender_ip && (ours || is_link_local_ipv4(arp.target_ip)))
		learn_arp_request(&target, ifindex, ours);
	if (ours)
		return reply_arp(skb, &arp, settings, vif->flags & VIF_ARP_BROADCAST,
				 arp.sender_ip ? REASON_ARP_REPLY : REASON_ARP_PROBE_REPLY);
	if (is_same_address(&target, &vif->gateway))
		return reply_arp(skb, &arp, settings, false, REASON_ARP_GATEWAY);
	return untouched(skb, ifindex, REASON_ARP_OTHER);
}

#endif
