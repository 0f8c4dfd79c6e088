/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Rows I3 and I6: ICMP echo to a service address, and ICMP errors about flows (RFC 792; RFC 5508 for the NAT of errors). */
#ifndef ONLINK_ICMP_H
#define ONLINK_ICMP_H

#include "nat.h"

/*
 * Row I3. Not inlined: with its variables in onlink_vif(), the way from there by nat_from_guest() and open_flow() to begin_event() would not fit on the 512 bytes
 * of stack as Linux 6.1 counts them.
 */
static __noinline int reply_echo(struct __sk_buff *skb, struct scratch *scratch)
{
	struct frame *frame = &scratch->frame;
	__u8 type = ICMP_ECHOREPLY;
	__u32 l4 = frame->l4_offset;
	struct way way = {
		.source = frame->head.ip.daddr,
		.destination = frame->head.ip.saddr,
		.ifindex = skb->ifindex,
		.vif = skb->ifindex,
		.reason = REASON_ECHO_REPLY,
		.ttl = IP_DEFAULT_TTL,
	};

	swap_macs(&frame->head.eth);
	if (is_fragment(frame))
		remember_fragment(scratch, SIDE_VIF, way.vif, &way);
	rewrite_ipv4(&frame->head.ip, way.source, way.destination, way.ttl);
	count(skb, way.vif, way.reason);
	if (write_eth_ipv4(skb, &frame->head) ||
	    bpf_l4_csum_replace(skb, l4 + offsetof(struct icmphdr, checksum), bpf_htons(ICMP_ECHO << 8),
				bpf_htons(ICMP_ECHOREPLY << 8), sizeof(__be16)) ||
	    bpf_skb_store_bytes(skb, l4 + offsetof(struct icmphdr, type), &type, sizeof(type), 0))
		return DROP;
	return bpf_redirect(way.ifindex, 0);
}

static __always_inline bool is_icmp_error(const struct frame *frame)
{
	__u8 type = frame->l4.icmp_type;

	/* Redirects would change the receiver's routes, source quench is obsolete (RFC 6633): neither is passed on. */
	return frame->head.ip.protocol == IPPROTO_ICMP &&
	       (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB);
}

/* The packet that an ICMP error quotes: its IPv4 header without options and the first eight bytes behind the options. */
struct quoted {
	struct iphdr ip;
	__be16 source_port;
	__be16 destination_port;
	__be16 udp_length;
	__be16 udp_checksum;
	__u32 offset;    /* of the quoted IPv4 header, from the start of the frame */
	__u32 l4_offset;
	__u32 l4_length; /* as far as it is quoted */
};

static __always_inline bool read_quoted(struct __sk_buff *skb, const struct frame *frame, struct quoted *quoted)
{
	__u32 length = frame->l4_length - sizeof(struct icmphdr), header;

	quoted->offset = frame->l4_offset + sizeof(struct icmphdr);
	if (frame->l4_length < sizeof(struct icmphdr) + sizeof(quoted->ip) ||
	    bpf_skb_load_bytes(skb, quoted->offset, &quoted->ip, sizeof(quoted->ip)))
		return false;
	header = quoted->ip.ihl * 4;
	if (quoted->ip.version != 4 || header < sizeof(quoted->ip) || length < header + 8 ||
	    quoted->ip.frag_off & bpf_htons(IP_OFFSET_MASK) ||
	    (quoted->ip.protocol != IPPROTO_TCP && quoted->ip.protocol != IPPROTO_UDP))
		return false;
	quoted->l4_offset = quoted->offset + header;
	quoted->l4_length = length - header;
	return bpf_skb_load_bytes(skb, quoted->l4_offset, &quoted->source_port, 8) == 0;
}

/* What a frame of the flow looks like at one end. */
struct ends {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
};

/*
 * Row I6: the error goes the way of the flow's frames; what it quotes becomes what the receiver has sent (`as`). The checksums inside are
 * kept as far as they are quoted, the outer one follows every change.
 */
static __noinline int translate_error(struct __sk_buff *skb, struct frame *frame, struct quoted *quoted, const struct way *way,
				      const struct ends *as)
{
	struct settings *settings = get_settings();
	__u64 addresses = csum_change(quoted->ip.saddr, as->source) + csum_change(quoted->ip.daddr, as->destination);
	__u64 ports = csum_change(quoted->source_port, as->source_port) + csum_change(quoted->destination_port, as->destination_port);
	__u64 change = addresses + ports;
	__be32 new_addresses[2] = { as->source, as->destination };
	__be16 new_ports[2] = { as->source_port, as->destination_port };
	__u16 check = csum_update(quoted->ip.check, addresses), l4_check = 0;
	__u32 l4_check_offset = 0;

	change += csum_change(quoted->ip.check, check);
	if (quoted->ip.protocol == IPPROTO_UDP && quoted->udp_checksum) {
		l4_check_offset = quoted->l4_offset + offsetof(struct udphdr, check);
		l4_check = csum_update(quoted->udp_checksum, addresses + ports);
		if (!l4_check)
			l4_check = 0xffff;
		change += csum_change(quoted->udp_checksum, l4_check);
	} else if (quoted->ip.protocol == IPPROTO_TCP && quoted->l4_length >= offsetof(struct tcphdr, urg_ptr)) {
		__u16 old = 0;

		l4_check_offset = quoted->l4_offset + offsetof(struct tcphdr, check);
		if (bpf_skb_load_bytes(skb, l4_check_offset, &old, sizeof(old)))
			return DROP;
		l4_check = csum_update(old, addresses + ports);
		change += csum_change(old, l4_check);
	}

	rewrite_ipv4(&frame->head.ip, way->source, way->destination, way->ttl);
	count(skb, way->vif, REASON_ICMP_ERROR);
	if (!settings || write_eth_ipv4(skb, &frame->head) ||
	    bpf_skb_store_bytes(skb, quoted->offset + offsetof(struct iphdr, check), &check, sizeof(check), 0) ||
	    bpf_skb_store_bytes(skb, quoted->offset + offsetof(struct iphdr, saddr), new_addresses, sizeof(new_addresses), 0) ||
	    bpf_skb_store_bytes(skb, quoted->l4_offset, new_ports, sizeof(new_ports), 0) ||
	    (l4_check_offset && bpf_skb_store_bytes(skb, l4_check_offset, &l4_check, sizeof(l4_check), 0)) ||
	    bpf_l4_csum_replace(skb, frame->l4_offset + offsetof(struct icmphdr, checksum), 0, csum_fold32(change), 0))
		return DROP;
	return send_out(settings, way->ifindex, way->neighbour);
}

/* An error of the guest about what it got: in its view the quoted packet came from the service. */
static __noinline int error_from_guest(struct __sk_buff *skb, struct scratch *scratch)
{
	struct settings *settings = get_settings();
	struct frame *frame = &scratch->frame;
	struct flow_key *key = &scratch->key;
	struct quoted quoted = {};
	struct flow *flow = NULL;
	struct ends as;
	struct way way;
	void *shard;

	if (settings && read_quoted(skb, frame, &quoted) && quoted.ip.saddr == frame->head.ip.daddr) {
		key->vif = skb->ifindex;
		key->guest = from_ipv4(quoted.ip.daddr);
		key->service = from_ipv4(quoted.ip.saddr);
		key->guest_port = quoted.destination_port;
		key->service_port = quoted.source_port;
		key->protocol = quoted.ip.protocol;
		shard = flows_with(settings, key);
		flow = shard ? find_flow(scratch, settings, shard) : NULL;
	}
	if (!flow)
		return drop(skb, skb->ifindex, REASON_NO_FLOW);
	as.source = to_ipv4(&flow->backend);
	as.destination = to_ipv4(&flow->nat);
	as.source_port = flow->backend_port;
	as.destination_port = flow->nat_port;
	way = way_to_backend(settings, frame, flow, key->vif, REASON_ICMP_ERROR);
	return translate_error(skb, frame, &quoted, &way, &as);
}

/* An error from the backend's side, of whichever host on the way: the guest gets it from the service. Returns `otherwise` where it is about no flow. */
static __noinline int error_to_guest(struct __sk_buff *skb, struct scratch *scratch, __u8 kind, int otherwise)
{
	struct reverse_key *reverse_key = &scratch->reverse_key;
	struct frame *frame = &scratch->frame;
	struct flow_key *key = &scratch->key;
	struct quoted quoted = {};
	struct flow *flow = NULL;
	struct ends as;
	struct way way;

	if (read_quoted(skb, frame, &quoted) && quoted.ip.saddr == frame->head.ip.daddr) {
		reverse_key->kind = kind;
		if (kind == BACKEND_FABRIC)
			reverse_key->backend = from_ipv4(quoted.ip.daddr);
		reverse_key->nat = from_ipv4(quoted.ip.saddr);
		reverse_key->backend_port = quoted.destination_port;
		reverse_key->nat_port = quoted.source_port;
		reverse_key->protocol = quoted.ip.protocol;
		flow = find_reverse(scratch);
	}
	if (!flow)
		return otherwise;
	as.source = to_ipv4(&key->guest);
	as.destination = to_ipv4(&key->service);
	as.source_port = key->guest_port;
	as.destination_port = key->service_port;
	way = way_to_guest(frame, key, flow, REASON_ICMP_ERROR);
	return translate_error(skb, frame, &quoted, &way, &as);
}

#endif
