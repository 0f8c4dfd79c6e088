/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Rows A1, A2 and A5: ARP from the guest (RFC 826, RFC 5227). */
#ifndef ONLINK_ARP_H
#define ONLINK_ARP_H

#include "parse.h"

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

/* The request, turned round: sender = what was asked for, at the gateway MAC; target = the asker. */
static __always_inline int reply_arp(struct __sk_buff *skb, struct eth_arp *arp, const struct settings *settings, __u32 reason)
{
	__be32 asked = arp->target_ip;

	__builtin_memcpy(arp->eth.h_dest, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_source, settings->gateway_mac, ETH_ALEN);
	arp->operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	arp->target_ip = arp->sender_ip;
	__builtin_memcpy(arp->sender_mac, settings->gateway_mac, ETH_ALEN);
	arp->sender_ip = asked;
	if (bpf_skb_store_bytes(skb, 0, arp, sizeof(*arp), 0))
		return drop(skb, skb->ifindex, REASON_MALFORMED);
	count(skb, skb->ifindex, reason);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int arp_from_guest(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	struct ip_address target;
	struct eth_arp arp;

	if (!settings || !read_arp(skb, &arp) || arp.operation != bpf_htons(ARPOP_REQUEST))
		return untouched(skb, skb->ifindex, REASON_ARP_OTHER);
	target = from_ipv4(arp.target_ip);
	if (!bpf_map_lookup_elem(&service_addresses, &target))
		return untouched(skb, skb->ifindex, REASON_ARP_OTHER);
	return reply_arp(skb, &arp, settings, arp.sender_ip ? REASON_ARP_REPLY : REASON_ARP_PROBE_REPLY);
}

#endif
