/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Row I4: a frame turned into its own refusal: a RST (RFC 9293 s. 3.10.7.1), or an ICMP port or protocol unreachable (RFC 792). Never in
 * answer to a RST, an ICMP message, a broadcast or a later fragment (RFC 1122 s. 3.2.2): those do not come here.
 */
#ifndef ONLINK_REJECT_H
#define ONLINK_REJECT_H

#include "checksum.h"
#include "limit.h"
#include "parse.h"

/* A hundred rejections a second and vif, with as much burst. */
#define REJECT_INTERVAL_NS (NS_PER_S / 100)
#define REJECT_BURST 100

#define IP_OPTIONS_MAX 40
#define QUOTED_L4_MAX 8 /* RFC 792 */
#define ICMP_TOS 0xc0   /* internetwork control (RFC 1812 s. 4.3.2.5) */
#define IP_ICMP_LENGTH (sizeof(struct iphdr) + sizeof(struct icmphdr))

/*
 * Whether the checksum at `offset` is left to the device (CHECKSUM_PARTIAL), which no field of the context says. Then the field holds
 * the pseudo-header alone, and bpf_l4_csum_replace leaves it be when told of another change. Where it is not, the field is put back.
 */
static __always_inline bool is_checksum_partial(struct __sk_buff *skb, __u32 offset)
{
	__be16 before, after;

	if (bpf_skb_load_bytes(skb, offset, &before, sizeof(before)) || bpf_l4_csum_replace(skb, offset, 0, bpf_htons(1), sizeof(__be16)) ||
	    bpf_skb_load_bytes(skb, offset, &after, sizeof(after)))
		return false;
	if (after == before)
		return true;
	bpf_skb_store_bytes(skb, offset, &before, sizeof(before), 0);
	return false;
}

/* The sum of 20 bytes, the length of an IPv4 or TCP header without options. */
static __always_inline __u64 sum_header(const void *header)
{
	__be32 words[5];
	__u64 sum = 0;

	__builtin_memcpy(words, header, sizeof(words));
	for (int i = 0; i < 5; i++)
		sum += words[i];
	return sum;
}

/* The IPv4 header of an answer that the datapath makes: from whom the frame was for, to whom it came from. */
static __always_inline void answer_ipv4(struct iphdr *ip, __u8 header_words, __u8 tos, __u32 length, __u8 protocol)
{
	__be32 asker = ip->saddr;

	ip->version = 4;
	ip->ihl = header_words;
	ip->tos = tos;
	ip->tot_len = bpf_htons(length);
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = IP_DEFAULT_TTL;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = ip->daddr;
	ip->daddr = asker;
	ip->check = ~csum_fold16(sum_header(ip));
}

static __noinline int reject_tcp(struct __sk_buff *skb, struct frame *frame)
{
	__u32 offset = frame->l4_offset & 0x7f, options = offset - ETH_IPV4_LENGTH;
	const struct l4_header *l4 = &frame->l4;
	__u32 length = frame->l4_length - (l4->tcp_data_offset >> 4) * 4;
	bool partial = is_checksum_partial(skb, offset + offsetof(struct tcphdr, check));
	__u8 none[IP_OPTIONS_MAX] = {};
	struct tcphdr rst = { .source = l4->destination_port, .dest = l4->source_port, .doff = 5, .rst = 1 };
	__u64 sum;

	if (l4->tcp_flags & TCP_ACK) {
		rst.seq = l4->tcp_acknowledgement;
	} else {
		length += !!(l4->tcp_flags & TCP_SYN) + !!(l4->tcp_flags & TCP_FIN);
		rst.ack = 1;
		rst.ack_seq = bpf_htonl(bpf_ntohl(l4->tcp_sequence) + length);
	}
	swap_macs(&frame->head.eth);
	answer_ipv4(&frame->head.ip, frame->head.ip.ihl, 0, offset - ETH_HLEN + sizeof(rst), IPPROTO_TCP);
	sum = (__u64)frame->head.ip.saddr + frame->head.ip.daddr + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(rst));
	if (partial)
		rst.check = csum_fold16(sum);
	else
		rst.check = ~csum_fold16(sum + sum_header(&rst));
	if (bpf_skb_change_tail(skb, offset + sizeof(rst), 0) || bpf_skb_store_bytes(skb, offset, &rst, sizeof(rst), 0))
		return -1;
	/*
	 * Options are not answered; in their place is the end of the list. The barrier has clang compare `options` itself and not a copy less
	 * four, which verifiers before Linux 6.10 do not tie to it.
	 */
	if (options >= sizeof(__be32)) {
		barrier_var(options);
		if (options > IP_OPTIONS_MAX || bpf_skb_store_bytes(skb, ETH_IPV4_LENGTH, none, options, 0))
			return -1;
	}
	return write_eth_ipv4(skb, &frame->head);
}

static __noinline int reject_icmp(struct __sk_buff *skb, struct frame *frame, __u8 code)
{
	struct {
		__u8 bytes[sizeof(struct iphdr) + IP_OPTIONS_MAX + QUOTED_L4_MAX];
	} quoted = {};
	struct icmphdr icmp = { .type = ICMP_DEST_UNREACH, .code = code };
	__u32 header = frame->head.ip.ihl * 4;
	__u32 length = header + (frame->l4_length < QUOTED_L4_MAX ? frame->l4_length : QUOTED_L4_MAX);
	bool udp = frame->head.ip.protocol == IPPROTO_UDP;
	__u32 checksum = ETH_HLEN + header + offsetof(struct udphdr, check);
	__u64 sum;

	/*
	 * A checksum that is left to the device will be computed over what is quoted. It is made to come out as 0xffff, so that the ICMP
	 * checksum, computed here and now, holds.
	 */
	if (udp && is_checksum_partial(skb, checksum)) {
		__be16 check = ~csum_fold16((__u64)frame->l4.source_port + frame->l4.destination_port + frame->l4.udp_length);

		if (bpf_skb_store_bytes(skb, checksum, &check, sizeof(check), 0))
			return -1;
		frame->l4.udp_checksum = 0xffff;
	}
	if (length < sizeof(struct iphdr) || length > sizeof(quoted) || bpf_skb_load_bytes(skb, ETH_HLEN, &quoted, length))
		return -1;
	if (udp && header <= sizeof(quoted) - QUOTED_L4_MAX)
		__builtin_memcpy(&quoted.bytes[header + offsetof(struct udphdr, check)], &frame->l4.udp_checksum, sizeof(__be16));
	sum = bpf_csum_diff(NULL, 0, (void *)&quoted, sizeof(quoted), 0);
	icmp.checksum = ~csum_fold16(sum + bpf_htons(ICMP_DEST_UNREACH << 8 | code));
	swap_macs(&frame->head.eth);
	answer_ipv4(&frame->head.ip, 5, ICMP_TOS, IP_ICMP_LENGTH + length, IPPROTO_ICMP);
	return bpf_skb_change_tail(skb, ETH_HLEN + length, 0) || bpf_skb_adjust_room(skb, IP_ICMP_LENGTH, BPF_ADJ_ROOM_MAC, 0) ||
	       write_eth_ipv4(skb, &frame->head) || bpf_skb_store_bytes(skb, ETH_IPV4_LENGTH, &icmp, sizeof(icmp), 0);
}

static __always_inline bool may_reject(__u32 vif)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &vif);

	return state && allow(&state->reject_tat, bpf_ktime_get_ns(), REJECT_INTERVAL_NS, REJECT_BURST);
}

/* Answers the frame with its refusal, as far as the limit goes; counted under `reason` in either case. */
static __noinline int reject(struct __sk_buff *skb, struct frame *frame, __u32 reason)
{
	__u8 protocol = frame->head.ip.protocol;
	__u32 vif = skb->ifindex;
	int error;

	if ((protocol == IPPROTO_TCP && frame->l4.tcp_flags & TCP_RST) || !may_reject(vif))
		return drop(skb, vif, reason);
	count(skb, vif, reason);
	if (protocol == IPPROTO_TCP)
		error = reject_tcp(skb, frame);
	else
		error = reject_icmp(skb, frame, protocol == IPPROTO_UDP ? ICMP_PORT_UNREACH : ICMP_PROT_UNREACH);
	return error ? DROP : bpf_redirect(vif, 0);
}

#endif
