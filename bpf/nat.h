/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Row I2 and its reverse: addresses and ports rewritten, checksums kept right with and without offload. */
#ifndef ONLINK_NAT_H
#define ONLINK_NAT_H

#include "checksum.h"
#include "flow.h"

/* What a frame's addresses become. The frame counts as sent anew, so its TTL is set, not counted down. */
struct rewrite {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 ttl;
};

/*
 * The MACs are taken from frame->head.eth, where the caller put the new ones. The L4 checksum goes through bpf_l4_csum_replace
 * in two steps, since with checksum offload (CHECKSUM_PARTIAL) the field holds the pseudo-header alone: it follows the
 * addresses, not the ports. A UDP checksum of zero (none, RFC 768) stays zero.
 */
static __always_inline bool rewrite_frame(struct __sk_buff *skb, struct frame *frame, const struct rewrite *to)
{
	struct iphdr *ip = &frame->head.ip;
	bool udp = ip->protocol == IPPROTO_UDP;
	__u32 checksum = frame->l4_offset + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u64 addresses = csum_change(ip->saddr, to->source) + csum_change(ip->daddr, to->destination);
	__be32 old_ports, new_ports;
	__be16 ports[2] = { to->source_port, to->destination_port };

	__builtin_memcpy(&old_ports, &frame->l4, sizeof(old_ports));
	__builtin_memcpy(&new_ports, ports, sizeof(new_ports));
	ip->check = csum_update(ip->check, addresses + csum_change(bpf_htons(ip->ttl << 8), bpf_htons(to->ttl << 8)));
	ip->ttl = to->ttl;
	ip->saddr = to->source;
	ip->daddr = to->destination;
	return !bpf_l4_csum_replace(skb, checksum, 0, csum_fold32(addresses), flags | BPF_F_PSEUDO_HDR) &&
	       !bpf_l4_csum_replace(skb, checksum, old_ports, new_ports, flags | sizeof(new_ports)) &&
	       !bpf_skb_store_bytes(skb, frame->l4_offset, &new_ports, sizeof(new_ports), 0) &&
	       !write_eth_ipv4(skb, &frame->head);
}

static __always_inline int send_to_backend(struct __sk_buff *skb, struct frame *frame, const struct flow *flow)
{
	struct rewrite to = {
		.source = to_ipv4(&flow->nat),
		.destination = to_ipv4(&flow->backend),
		.source_port = flow->nat_port,
		.destination_port = flow->backend_port,
		.ttl = IP_DEFAULT_TTL,
	};
	struct settings *settings = get_settings();
	__u32 vif = skb->ifindex, ifindex = flow->ifindex;
	__u8 kind = flow->kind;

	if (!settings)
		return DROP;
	/* The host's stack takes only what is addressed to onlink0; on the fabric the kernel puts its own MACs. */
	__builtin_memcpy(frame->head.eth.h_dest, settings->host_mac, ETH_ALEN);
	__builtin_memcpy(frame->head.eth.h_source, settings->gateway_mac, ETH_ALEN);
	if (!rewrite_frame(skb, frame, &to))
		return drop(skb, vif, REASON_MALFORMED);
	count(skb, vif, REASON_FORWARDED);
	if (kind == BACKEND_FABRIC)
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	return bpf_redirect(settings->host_device, BPF_F_INGRESS);
}

/* TCP or UDP from the guest to a service address. */
static __always_inline int nat_from_guest(struct __sk_buff *skb, struct frame *frame)
{
	struct flow_key key = {
		.guest = from_ipv4(frame->head.ip.saddr),
		.service = from_ipv4(frame->head.ip.daddr),
		.vif = skb->ifindex,
		.guest_port = frame->l4.source_port,
		.service_port = frame->l4.destination_port,
		.protocol = frame->head.ip.protocol,
	};
	struct settings *settings = get_settings();
	void *shard = settings ? flows_with(settings, &key) : NULL;
	struct flow *flow;
	__u32 reason;

	if (!shard)
		return drop(skb, key.vif, REASON_LIMIT);
	flow = bpf_map_lookup_elem(shard, &key);
	if (flow && flow->state == FLOW_CLOSING && frame->l4.tcp_flags & TCP_SYN) {
		end_flow(shard, &key, flow);
		flow = NULL;
	}
	if (!flow) {
		reason = open_flow(frame, &key);
		flow = bpf_map_lookup_elem(shard, &key);
		if (!flow)
			return drop(skb, key.vif, reason ? reason : REASON_LIMIT);
	}
	follow_flow(skb, frame, &key, flow, FLOW_FIN_GUEST);
	return send_to_backend(skb, frame, flow);
}

/* The reverse: a backend's frame, if it belongs to a flow. Returns `otherwise` where it does not. */
static __always_inline int nat_to_guest(struct __sk_buff *skb, struct frame *frame, const struct reverse_key *reverse_key, int otherwise)
{
	struct flow_key *found = bpf_map_lookup_elem(&reverse, reverse_key);
	struct settings *settings = get_settings();
	struct flow_key key;
	struct flow *flow;
	struct rewrite to;
	void *shard;

	if (!found || !settings)
		return otherwise;
	key = *found;
	shard = flows_with(settings, &key);
	flow = shard ? bpf_map_lookup_elem(shard, &key) : NULL;
	if (!flow)
		return otherwise;
	follow_flow(skb, frame, &key, flow, FLOW_FIN_BACKEND);
	to.source = to_ipv4(&key.service);
	to.destination = to_ipv4(&key.guest);
	to.source_port = key.service_port;
	to.destination_port = key.guest_port;
	to.ttl = flow->response_hop_limit;
	__builtin_memcpy(frame->head.eth.h_dest, flow->guest_mac, ETH_ALEN);
	__builtin_memcpy(frame->head.eth.h_source, flow->service_mac, ETH_ALEN);
	if (!rewrite_frame(skb, frame, &to))
		return drop(skb, key.vif, REASON_MALFORMED);
	count(skb, key.vif, REASON_RETURNED);
	return bpf_redirect(key.vif, 0);
}

#endif
