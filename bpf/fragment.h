/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Row I5: only the first fragment has ports; where it went is remembered, so that the later ones follow. Nothing is kept back: a later
 * fragment that comes first is dropped.
 */
#ifndef ONLINK_FRAGMENT_H
#define ONLINK_FRAGMENT_H

#include "checksum.h"
#include "limit.h"
#include "parse.h"

/* As long as Linux waits for the rest of a datagram (net.ipv4.ipfrag_time). */
#define FRAGMENT_TIMEOUT_NS (30 * NS_PER_S)

static __always_inline struct fragment_key fragment_key(const struct frame *frame, __u8 side, __u32 ifindex)
{
	__u16 identification = bpf_ntohs(frame->head.ip.id);
	struct fragment_key key = { .side = side };

	if (side == SIDE_VIF) {
		key.vif = ifindex;
		key.slot = identification % FRAGMENT_SLOTS_VIF;
	} else {
		key.slot = identification % FRAGMENT_SLOTS_OTHER;
	}
	return key;
}

/* Where a frame goes, as far as the IPv4 and Ethernet headers are concerned. */
struct way {
	__be32 source;
	__be32 destination;
	__u32 ifindex;      /* zero: into the host's stack */
	__u32 vif;          /* counted for */
	__u32 reason;
	__u8 ttl;
	bool neighbour;     /* to the fabric: the kernel finds the next hop */
};

/* Remembers the way of a first fragment. The new MACs are in frame->head.eth, the rest of it is still as it came. */
static __always_inline void remember_fragment(struct scratch *scratch, __u8 side, __u32 ifindex, const struct way *way)
{
	const struct frame *frame = &scratch->frame;
	struct fragment_key key = fragment_key(frame, side, ifindex);
	struct fragment *fragment = &scratch->fragment;

	__builtin_memset(fragment, 0, sizeof(*fragment));
	fragment->source = from_ipv4(frame->head.ip.saddr);
	fragment->destination = from_ipv4(frame->head.ip.daddr);
	fragment->new_source = from_ipv4(way->source);
	fragment->new_destination = from_ipv4(way->destination);
	fragment->seen = bpf_ktime_get_ns();
	fragment->ifindex = way->ifindex;
	fragment->vif = way->vif;
	fragment->reason = way->reason;
	fragment->identification = frame->head.ip.id;
	fragment->protocol = frame->head.ip.protocol;
	fragment->ttl = way->ttl;
	fragment->neighbour = way->neighbour;
	copy_mac(fragment->new_destination_mac, frame->head.eth.h_dest);
	copy_mac(fragment->new_source_mac, frame->head.eth.h_source);
	bpf_map_update_elem(&fragments, &key, fragment, BPF_ANY);
}

/* Changes the IPv4 header on its way; the checksum follows (RFC 1624). */
static __always_inline void rewrite_ipv4(struct iphdr *ip, __be32 source, __be32 destination, __u8 ttl)
{
	__u64 change = csum_change(ip->saddr, source) + csum_change(ip->daddr, destination) +
		       csum_change(bpf_htons(ip->ttl << 8), bpf_htons(ttl << 8));

	ip->check = csum_update(ip->check, change);
	ip->ttl = ttl;
	ip->saddr = source;
	ip->daddr = destination;
}

static __always_inline int send_out(const struct settings *settings, __u32 ifindex, bool neighbour)
{
	if (neighbour)
		return bpf_redirect_neigh(ifindex, NULL, 0, 0);
	return ifindex ? bpf_redirect(ifindex, 0) : bpf_redirect(settings->host_device, BPF_F_INGRESS);
}

/* A later fragment: the way of its first, or `otherwise`. */
static __noinline int follow_first_fragment(struct __sk_buff *skb, struct frame *frame, __u8 side, int otherwise)
{
	struct settings *settings = get_settings();
	struct fragment_key key = fragment_key(frame, side, skb->ifindex);
	struct fragment *first = bpf_map_lookup_elem(&fragments, &key);
	struct iphdr *ip = &frame->head.ip;

	if (!settings || !first || first->identification != ip->id || first->protocol != ip->protocol ||
	    to_ipv4(&first->source) != ip->saddr || to_ipv4(&first->destination) != ip->daddr ||
	    bpf_ktime_get_ns() - first->seen > FRAGMENT_TIMEOUT_NS)
		return otherwise;
	copy_mac(frame->head.eth.h_dest, first->new_destination_mac);
	copy_mac(frame->head.eth.h_source, first->new_source_mac);
	rewrite_ipv4(ip, to_ipv4(&first->new_source), to_ipv4(&first->new_destination), first->ttl);
	count(skb, first->vif, first->reason);
	if (write_eth_ipv4(skb, &frame->head))
		return DROP;
	return send_out(settings, first->ifindex, first->neighbour);
}

#endif
