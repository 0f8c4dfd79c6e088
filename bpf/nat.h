/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Row I2 and its reverse: addresses and ports rewritten, checksums kept right with and without offload. */
#ifndef ONLINK_NAT_H
#define ONLINK_NAT_H

#include "flow.h"
#include "fragment.h"
#include "learn.h"
#include "reject.h"

/*
 * Rewrites addresses and, for TCP and UDP, ports, and sends the frame on; the new MACs are given in frame->head.eth by the caller. The frame
 * counts as sent anew, so its TTL is set, not counted down.
 *
 * The L4 checksum goes through bpf_l4_csum_replace in two steps, since with checksum offload (CHECKSUM_PARTIAL) the field holds the
 * pseudo-header alone: it follows the addresses, not the ports, which often stay as they are. A UDP checksum of zero (none, RFC 768) stays zero.
 */
static __always_inline int translate(struct __sk_buff *skb, struct frame *frame, const struct way *way, __be16 source_port,
				     __be16 destination_port)
{
	struct settings *settings = get_settings();
	struct iphdr *ip = &frame->head.ip;
	bool udp = ip->protocol == IPPROTO_UDP;
	__u32 checksum = frame->l4_offset + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 addresses = csum_fold32(csum_change(ip->saddr, way->source) + csum_change(ip->daddr, way->destination)), ports = 0;
	struct l4_header *l4 = &frame->l4;

	if (l4->source_port != source_port || l4->destination_port != destination_port)
		ports = csum_fold32(csum_change(l4->source_port, source_port) + csum_change(l4->destination_port, destination_port));
	rewrite_ipv4(ip, way->source, way->destination, way->ttl);
	count_total(skb, way->reason);
	if (!settings)
		return DROP;
	if (is_tcp_or_udp(frame)) {
		l4->source_port = source_port;
		l4->destination_port = destination_port;
		if (write_headers(skb, frame) || bpf_l4_csum_replace(skb, checksum, 0, addresses, flags | BPF_F_PSEUDO_HDR) ||
		    (ports && bpf_l4_csum_replace(skb, checksum, 0, ports, flags)))
			return DROP;
	} else if (write_eth_ipv4(skb, &frame->head)) {
		return DROP;
	}
	return send_out(settings, way->ifindex, way->neighbour);
}

/* The way of a flow's frames out of the guest; sets the new MACs. */
static __always_inline struct way way_to_backend(const struct settings *settings, struct frame *frame, const struct flow *flow, __u32 vif,
						 __u32 reason)
{
	struct way way = {
		.source = to_ipv4(&flow->nat),
		.destination = to_ipv4(&flow->backend),
		.ifindex = flow->ifindex,
		.vif = vif,
		.reason = reason,
		.ttl = IP_DEFAULT_TTL,
		.neighbour = flow->kind == BACKEND_FABRIC,
	};

	/* The host's stack takes only what is addressed to onlink0; on the fabric the kernel puts its own MACs. */
	copy_mac(frame->head.eth.h_dest, settings->host_mac);
	copy_mac(frame->head.eth.h_source, settings->gateway_mac);
	return way;
}

/* The way of a flow's frames into the guest; sets the new MACs. */
static __always_inline struct way way_to_guest(struct frame *frame, const struct flow_key *key, const struct flow *flow, __u32 reason)
{
	struct way way = {
		.source = to_ipv4(&key->service),
		.destination = to_ipv4(&key->guest),
		.ifindex = key->vif,
		.vif = key->vif,
		.reason = reason,
		.ttl = flow->response_hop_limit,
	};

	copy_mac(frame->head.eth.h_dest, flow->guest_mac);
	copy_mac(frame->head.eth.h_source, flow->service_mac);
	return way;
}

/* A frame of the guest in the flow with scratch->key. */
static __always_inline int send_to_backend(struct __sk_buff *skb, struct scratch *scratch, struct flow *flow)
{
	const struct flow_key *key = &scratch->key;
	struct frame *frame = &scratch->frame;
	struct settings *settings = get_settings();
	__be16 source_port = flow->nat_port, destination_port = flow->backend_port;
	struct way way;

	if (!settings)
		return DROP;
	follow_flow(skb, scratch, flow, FLOW_GUEST);
	way = way_to_backend(settings, frame, flow, key->vif, REASON_FORWARDED);
	if (is_fragment(frame))
		remember_fragment(scratch, SIDE_VIF, key->vif, &way);
	return translate(skb, frame, &way, source_port, destination_port);
}

/* Row I4, by what the service, or the vif where there is none, wants. */
static __always_inline int refuse(struct __sk_buff *skb, struct frame *frame, const struct vif *vif, const struct service *service)
{
	__u32 reason = service ? REASON_NO_BACKEND : REASON_UNKNOWN_PORT;
	bool answer = service ? service->when_no_backend == WHEN_NO_BACKEND_REJECT : vif->flags & VIF_REJECT_UNKNOWN_PORT;

	if (service)
		count_refused(service->id);
	if (service && service->when_no_backend == WHEN_NO_BACKEND_PASS)
		return untouched(skb, skb->ifindex, reason);
	return answer ? reject(skb, frame, reason) : drop(skb, skb->ifindex, reason);
}

static __always_inline int drop_over_limit(const struct __sk_buff *skb, const struct flow_key *key)
{
	struct event *event = reserve_limited_event(EVENT_LIMIT, key->vif);

	if (event) {
		event->guest = key->guest;
		event->service = key->service;
		event->guest_port = key->guest_port;
		event->service_port = key->service_port;
		event->protocol = key->protocol;
		bpf_ringbuf_submit(event, 0);
	}
	return drop(skb, key->vif, REASON_LIMIT);
}

/* TCP or UDP from the guest to a service address. */
static __noinline int nat_from_guest(struct __sk_buff *skb, struct scratch *scratch, struct vif *vif)
{
	struct settings *settings = get_settings();
	struct frame *frame = &scratch->frame;
	struct flow_key *key = &scratch->key;
	__u32 ifindex = skb->ifindex;
	struct service_key service_key;
	struct service *service;
	struct flow *flow, *former = NULL;
	__u32 reason;
	void *shard;

	key->guest = from_ipv4(frame->head.ip.saddr);
	key->service = from_ipv4(frame->head.ip.daddr);
	key->vif = ifindex;
	key->guest_port = frame->l4.source_port;
	key->service_port = frame->l4.destination_port;
	key->protocol = frame->head.ip.protocol;
	shard = settings ? flows_with(settings, key) : NULL;
	if (!shard)
		return drop(skb, ifindex, REASON_LIMIT);
	flow = find_flow(scratch, settings, shard);
	if (flow && flow->state == FLOW_CLOSING && opens_tcp(frame)) {
		former = flow;
	} else if (flow) {
		learn_macs(frame, flow, ifindex);
		return send_to_backend(skb, scratch, flow);
	}

	learn_guest(frame, ifindex);
	/* Its flow may be there when it comes again. */
	if (settings->carrying_flows && key->protocol == IPPROTO_TCP && !opens_tcp(frame))
		return drop(skb, ifindex, REASON_NO_FLOW);
	__builtin_memset(&service_key, 0, sizeof(service_key));
	service_key.address = key->service;
	service_key.port = key->service_port;
	service_key.protocol = key->protocol;
	service = bpf_map_lookup_elem(&services, &service_key);
	/* Of a service that was removed, the flows alone go on. */
	if (service && service->drain_ends)
		service = NULL;
	if (!service || !service->backends)
		return refuse(skb, frame, vif, service);
	if (key->protocol == IPPROTO_TCP && !opens_tcp(frame))
		return vif->flags & VIF_REJECT_UNKNOWN_PORT ? reject(skb, frame, REASON_NO_FLOW) : drop(skb, ifindex, REASON_NO_FLOW);
	reason = open_flow(scratch, service, former);
	if (reason == REASON_NO_BACKEND)
		return drop(skb, ifindex, reason);
	flow = bpf_map_lookup_elem(shard, key);
	if (flow)
		return send_to_backend(skb, scratch, flow);
	return reason == REASON_LIMIT || !reason ? drop_over_limit(skb, key) : drop(skb, ifindex, reason);
}

/* The guest's echo reply, where the host asked: the same without ports. */
static __noinline int echo_reply_from_guest(struct __sk_buff *skb, struct scratch *scratch)
{
	struct settings *settings = get_settings();
	struct flow_key *key = &scratch->key;
	struct flow *flow;
	void *shard;

	key->guest = from_ipv4(scratch->frame.head.ip.saddr);
	key->service = from_ipv4(scratch->frame.head.ip.daddr);
	key->vif = skb->ifindex;
	key->service_port = scratch->frame.l4.icmp_identifier;
	key->protocol = IPPROTO_ICMP;
	shard = settings ? flows_with(settings, key) : NULL;
	flow = shard ? find_flow(scratch, settings, shard) : NULL;
	return flow ? send_to_backend(skb, scratch, flow) : drop(skb, skb->ifindex, REASON_NO_FLOW);
}

/* The flow that a frame from a backend belongs to, by scratch->reverse_key; scratch->key is then its key. */
static __always_inline struct flow *find_reverse(struct scratch *scratch)
{
	struct settings *settings = get_settings();
	struct flow_key *found = bpf_map_lookup_elem(&reverse, &scratch->reverse_key);
	void *shard;

	if (!found || !settings)
		return NULL;
	scratch->key = *found;
	shard = flows_with(settings, &scratch->key);
	return shard ? find_flow(scratch, settings, shard) : NULL;
}

/* A frame of the backend, or of the host, in the flow with scratch->key. */
static __always_inline int send_to_guest(struct __sk_buff *skb, struct scratch *scratch, struct flow *flow, __u8 side)
{
	const struct flow_key *key = &scratch->key;
	struct frame *frame = &scratch->frame;
	struct way way;

	follow_flow(skb, scratch, flow, FLOW_BACKEND);
	way = way_to_guest(frame, key, flow, REASON_RETURNED);
	if (is_fragment(frame))
		remember_fragment(scratch, side, 0, &way);
	return translate(skb, frame, &way, key->service_port, key->guest_port);
}

#endif
