/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Row I3: ICMP echo to a service address (RFC 792). */
#ifndef ONLINK_ICMP_H
#define ONLINK_ICMP_H

#include "checksum.h"
#include "parse.h"

static __always_inline int reply_echo(struct __sk_buff *skb, struct frame *frame)
{
	struct eth_ipv4 *head = &frame->head;
	__u8 mac[ETH_ALEN], type = ICMP_ECHOREPLY;
	__be32 address = head->ip.saddr;
	__u32 l4 = frame->l4_offset;

	__builtin_memcpy(mac, head->eth.h_dest, ETH_ALEN);
	__builtin_memcpy(head->eth.h_dest, head->eth.h_source, ETH_ALEN);
	__builtin_memcpy(head->eth.h_source, mac, ETH_ALEN);
	head->ip.saddr = head->ip.daddr;
	head->ip.daddr = address;
	head->ip.check = csum_update(head->ip.check, csum_change(bpf_htons(head->ip.ttl << 8), bpf_htons(IP_DEFAULT_TTL << 8)));
	head->ip.ttl = IP_DEFAULT_TTL;
	if (write_eth_ipv4(skb, head) ||
	    bpf_l4_csum_replace(skb, l4 + offsetof(struct icmphdr, checksum), bpf_htons(ICMP_ECHO << 8),
				bpf_htons(ICMP_ECHOREPLY << 8), sizeof(__be16)) ||
	    bpf_skb_store_bytes(skb, l4 + offsetof(struct icmphdr, type), &type, sizeof(type), 0))
		return drop(skb, skb->ifindex, REASON_MALFORMED);
	count(skb, skb->ifindex, REASON_ECHO_REPLY);
	return bpf_redirect(skb->ifindex, 0);
}

#endif
