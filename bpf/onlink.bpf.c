// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The datapath: three tc programs, one for each side that a frame comes from (DESIGN section 3). Each is a list of stages; a stage gives the
 * verdict or lets the next one look.
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "onlink.h"
#include "protocols.h"
#include "maps.h"
#include "arp.h"
#include "icmp.h"
#include "learn.h"
#include "nat.h"
#include "spoof.h"

/* ICMP to a service address. */
static __always_inline int icmp_from_guest(struct __sk_buff *skb, struct scratch *scratch)
{
	struct frame *frame = &scratch->frame;

	if (frame->l4.icmp_type == ICMP_ECHO)
		return reply_echo(skb, scratch);
	if (frame->l4.icmp_type == ICMP_ECHOREPLY)
		return echo_reply_from_guest(skb, scratch);
	if (is_icmp_error(frame) && !is_fragment(frame))
		return error_from_guest(skb, scratch);
	return drop(skb, skb->ifindex, REASON_UNKNOWN_PORT);
}

/* Rows I2-I9: IPv4 to a service address. */
static __always_inline int service_from_guest(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct settings *settings = get_settings();
	struct vif *vif = bpf_map_lookup_elem(&vifs, &ifindex);
	struct scratch *scratch = get_scratch();
	struct frame *frame;
	int verdict;

	if (!settings || !vif || !scratch || !read_eth_ipv4(skb, &scratch->frame.head))
		return UNTOUCHED;
	frame = &scratch->frame;
	if (!check_ipv4(skb, frame) || is_multicast_mac(frame->head.eth.h_dest) || !is_unicast_ipv4(frame->head.ip.saddr))
		return drop(skb, ifindex, REASON_MALFORMED);
	if (is_spoofed(frame, settings, vif, ifindex))
		return drop_spoofed(skb, frame);
	if (is_later_fragment(frame)) {
		verdict = follow_first_fragment(skb, frame, SIDE_VIF, UNTOUCHED);
		return verdict == UNTOUCHED ? drop(skb, ifindex, REASON_FRAGMENT) : verdict;
	}
	if (!read_l4(skb, frame))
		return drop(skb, ifindex, REASON_MALFORMED);
	if (is_tcp_or_udp(frame))
		return nat_from_guest(skb, scratch, vif);
	learn_guest(frame, ifindex);
	if (frame->head.ip.protocol == IPPROTO_ICMP)
		return icmp_from_guest(skb, scratch);
	return refuse(skb, frame, vif, NULL);
}

static __always_inline int ipv4_from_guest(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	struct ip_address address;
	__be32 destination;

	if (!settings || !read_ipv4_destination(skb, &destination))
		return UNTOUCHED;
	/* I1 is not even counted: that would cost more than all the rest. */
	if (!is_link_local_ipv4(destination) && !settings->other_addresses)
		return UNTOUCHED;
	address = from_ipv4(destination);
	if (!bpf_map_lookup_elem(&service_addresses, &address))
		return UNTOUCHED;
	return service_from_guest(skb);
}

/* From the guest: tc ingress on the vif. */
SEC("tc")
int onlink_vif(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return untouched(skb, skb->ifindex, REASON_VLAN);
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_guest(skb);
	case bpf_htons(ETH_P_ARP):
		return arp_from_guest(skb);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return untouched(skb, skb->ifindex, REASON_VLAN);
	default:
		return UNTOUCHED;
	}
}

/* From the host to a metadata address, in no flow yet: opens one to the guest, where the frame is one that opens. */
static __noinline int open_from_host(struct __sk_buff *skb, struct scratch *scratch)
{
	struct reverse_key *reverse_key = &scratch->reverse_key;
	struct frame *frame = &scratch->frame;
	struct flow_key *key = &scratch->key;
	__u32 *vif = bpf_map_lookup_elem(&metadata_addresses, &reverse_key->nat), reason;
	struct flow *flow;

	if (!vif || (reverse_key->protocol == IPPROTO_TCP && !opens_tcp(frame)))
		return drop(skb, 0, REASON_NO_FLOW);
	__builtin_memset(key, 0, sizeof(*key));
	key->vif = *vif;
	key->guest_port = reverse_key->nat_port;
	key->service_port = reverse_key->backend_port;
	key->protocol = reverse_key->protocol;
	reason = open_flow_to_guest(scratch);
	if (reason == REASON_LIMIT)
		return drop_over_limit(skb, key);
	if (reason)
		return drop(skb, key->vif, reason);
	flow = find_reverse(scratch);
	return flow ? send_to_guest(skb, scratch, flow, SIDE_HOST) : drop(skb, key->vif, REASON_LIMIT);
}

static __always_inline int frame_from_host(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	struct scratch *scratch = get_scratch();
	struct reverse_key *reverse_key;
	struct frame *frame;
	struct flow *flow;
	int verdict;

	if (!settings || !scratch || skb->protocol != bpf_htons(ETH_P_IP) || !read_eth_ipv4(skb, &scratch->frame.head))
		return DROP;
	frame = &scratch->frame;
	if (!check_ipv4(skb, frame))
		return drop(skb, 0, REASON_MALFORMED);
	if (is_later_fragment(frame)) {
		verdict = follow_first_fragment(skb, frame, SIDE_HOST, UNTOUCHED);
		return verdict == UNTOUCHED ? drop(skb, 0, REASON_FRAGMENT) : verdict;
	}
	if (!read_l4(skb, frame))
		return drop(skb, 0, REASON_MALFORMED);
	if (is_icmp_error(frame)) {
		verdict = is_fragment(frame) ? UNTOUCHED : error_to_guest(skb, scratch, BACKEND_HOST_LOCAL, UNTOUCHED);
		return verdict == UNTOUCHED ? drop(skb, 0, REASON_NO_FLOW) : verdict;
	}
	reverse_key = &scratch->reverse_key;
	reverse_key->kind = BACKEND_HOST_LOCAL;
	reverse_key->nat = from_ipv4(frame->head.ip.daddr);
	reverse_key->protocol = frame->head.ip.protocol;
	if (is_tcp_or_udp(frame)) {
		reverse_key->backend_port = frame->l4.source_port;
		reverse_key->nat_port = frame->l4.destination_port;
	} else if (reverse_key->protocol == IPPROTO_ICMP && frame->l4.icmp_type == ICMP_ECHO) {
		reverse_key->backend_port = frame->l4.icmp_identifier;
	} else {
		return drop(skb, 0, REASON_NO_FLOW);
	}
	flow = find_reverse(scratch);
	if (flow && flow->state == FLOW_CLOSING && opens_tcp(frame)) {
		void *shard = flows_with(settings, &scratch->key);

		if (shard)
			end_flow(shard, &scratch->key, flow);
		flow = NULL;
	}
	return flow ? send_to_guest(skb, scratch, flow, SIDE_HOST) : open_from_host(skb, scratch);
}

/*
 * From the host: tc egress on onlink0, which leads nowhere else. What is dropped crosses to the other end, which takes nothing that is not addressed
 * to it: were it dropped here, its sender would be told, and TCP, taking that for local congestion, would send again twice a second
 * without backing off (tcp_retransmit_timer). Multicast the other end would take.
 */
SEC("tc")
int onlink_host(struct __sk_buff *skb)
{
	int verdict = frame_from_host(skb);
	__u8 first;

	if (verdict != DROP || bpf_skb_load_bytes(skb, 0, &first, sizeof(first)) || is_multicast_mac(&first))
		return verdict;
	return TC_ACT_OK;
}

static __always_inline bool is_fabric_port(const struct settings *settings, __be16 port)
{
	return bpf_ntohs(port) >= settings->fabric_port_min && bpf_ntohs(port) <= settings->fabric_port_max;
}

/*
 * Whether a frame of the fabric is worth a closer look: most traffic there is the host's own, TCP and UDP to ports of its own. Fragments and
 * ICMP have no such port.
 */
static __always_inline bool may_be_from_backend(struct __sk_buff *skb, const struct settings *settings)
{
	const struct iphdr *ip;
	__be16 port;
	__u32 l4;

	if (!make_linear(skb, ETH_IPV4_LENGTH))
		return false;
	ip = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return false;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK) || ip->protocol == IPPROTO_ICMP)
		return true;
	l4 = ETH_HLEN + ip->ihl * 4;
	return (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) &&
	       !bpf_skb_load_bytes(skb, l4 + offsetof(struct udphdr, dest), &port, sizeof(port)) && is_fabric_port(settings, port);
}

/* From the fabric: tc ingress on the interfaces that lead to fabric backends. */
SEC("tc")
int onlink_fabric(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	struct reverse_key *reverse_key;
	struct scratch *scratch;
	struct frame *frame;
	struct flow *flow;

	if (!settings || skb->vlan_present || skb->pkt_type != PACKET_HOST || skb->protocol != bpf_htons(ETH_P_IP) ||
	    !may_be_from_backend(skb, settings))
		return UNTOUCHED;
	scratch = get_scratch();
	if (!scratch || !read_eth_ipv4(skb, &scratch->frame.head))
		return UNTOUCHED;
	frame = &scratch->frame;
	if (!check_ipv4(skb, frame))
		return UNTOUCHED;
	if (is_later_fragment(frame))
		return follow_first_fragment(skb, frame, SIDE_FABRIC, UNTOUCHED);
	if (!read_l4(skb, frame))
		return UNTOUCHED;
	if (is_icmp_error(frame) && !is_fragment(frame))
		return error_to_guest(skb, scratch, BACKEND_FABRIC, UNTOUCHED);
	if (!is_tcp_or_udp(frame) || !is_fabric_port(settings, frame->l4.destination_port))
		return UNTOUCHED;
	reverse_key = &scratch->reverse_key;
	reverse_key->kind = BACKEND_FABRIC;
	reverse_key->backend = from_ipv4(frame->head.ip.saddr);
	reverse_key->nat = from_ipv4(frame->head.ip.daddr);
	reverse_key->backend_port = frame->l4.source_port;
	reverse_key->nat_port = frame->l4.destination_port;
	reverse_key->protocol = frame->head.ip.protocol;
	flow = find_reverse(scratch);
	if (flow)
		return send_to_guest(skb, scratch, flow, SIDE_FABRIC);
	/* The host's stack would answer with a RST, and the backend forget a connection whose flow is there a moment later. */
	return settings->carrying_flows ? drop(skb, 0, REASON_NO_FLOW) : UNTOUCHED;
}

/*
 * The last five are attached nowhere: the agent runs them (BPF_PROG_TEST_RUN), so that flows, claimed ports and counts have one writer, the
 * datapath. Those that look for flows go through one shard at a time, so that a million flows do not hold up a CPU.
 */

/* Ends the flows of shard cb[0] whose fields cb[1] (enum flow_field) are a key of flow_filters. Returns how many. */
SEC("tc")
int onlink_end_flows(struct __sk_buff *skb)
{
	struct flow_search search = {};
	void *shard = read_search(skb, &search);

	if (shard)
		bpf_for_each_map_elem(shard, end_flow_if_wanted, &search, 0);
	return search.found;
}

/* Likewise, counts them alone. */
SEC("tc")
int onlink_count_flows(struct __sk_buff *skb)
{
	struct flow_search search = {};
	void *shard = read_search(skb, &search);

	if (shard)
		bpf_for_each_map_elem(shard, count_flow_if_wanted, &search, 0);
	return search.found;
}

/* Adds what the flows of shard cb[0] have carried to what their vifs and services have: so that the sums are right now and not after the next sweep. */
SEC("tc")
int onlink_add_counts(struct __sk_buff *skb)
{
	__u32 shard = skb->cb[0];
	void *flows_of_shard = bpf_map_lookup_elem(&flows, &shard);

	if (flows_of_shard)
		bpf_for_each_map_elem(flows_of_shard, add_counts_of_flow, NULL, 0);
	return 0;
}

/* Takes over the flow of another version's maps that the frame holds: struct flow_key, then struct flow. Returns whether it could. */
SEC("tc")
int onlink_carry_flow(struct __sk_buff *skb)
{
	struct scratch *scratch = get_scratch();

	return scratch && !bpf_skb_load_bytes(skb, ETH_HLEN, &scratch->key, sizeof(scratch->key)) &&
	       !bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(scratch->key), &scratch->flow, sizeof(scratch->flow)) && carry_flow(scratch);
}

/* Sees to it that flows end. Returns 0, or a negative errno. */
SEC("tc")
int onlink_start_sweeping(struct __sk_buff *skb)
{
	return start_sweeping();
}

char _license[] SEC("license") = "Dual BSD/GPL";
