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
#include "nat.h"

/* IPv4 from the guest: rows I1-I4, I9. */
static __always_inline int ipv4_from_guest(struct __sk_buff *skb)
{
	struct ip_address destination;
	struct frame frame = {};

	if (!read_eth_ipv4(skb, &frame.head))
		return UNTOUCHED;
	destination = from_ipv4(frame.head.ip.daddr);
	if (!bpf_map_lookup_elem(&service_addresses, &destination))
		return UNTOUCHED; /* I1 is not even counted: that would be a second lookup */

	if (!check_ipv4(skb, &frame) || is_multicast_mac(frame.head.eth.h_dest))
		return drop(skb, skb->ifindex, REASON_MALFORMED);
	if (is_fragment(&frame))
		return drop(skb, skb->ifindex, REASON_FRAGMENT);
	if (!read_l4(skb, &frame))
		return drop(skb, skb->ifindex, REASON_MALFORMED);
	if (is_tcp_or_udp(&frame))
		return nat_from_guest(skb, &frame);
	if (frame.head.ip.protocol == IPPROTO_ICMP && frame.l4.icmp_type == ICMP_ECHO)
		return reply_echo(skb, &frame);
	return drop(skb, skb->ifindex, REASON_UNKNOWN_PORT);
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

/* From the host: tc ingress on onlink0's peer, which leads nowhere else. */
SEC("tc")
int onlink_host(struct __sk_buff *skb)
{
	struct reverse_key key = { .kind = BACKEND_HOST_LOCAL };
	struct frame frame = {};
	int verdict;

	if (skb->protocol != bpf_htons(ETH_P_IP) || !read_eth_ipv4(skb, &frame.head))
		return DROP;
	if (!check_ipv4(skb, &frame))
		return drop(skb, 0, REASON_MALFORMED);
	if (is_fragment(&frame))
		return drop(skb, 0, REASON_FRAGMENT);
	if (!read_l4(skb, &frame))
		return drop(skb, 0, REASON_MALFORMED);
	if (!is_tcp_or_udp(&frame))
		return drop(skb, 0, REASON_NO_FLOW);
	key.nat = from_ipv4(frame.head.ip.daddr);
	key.backend_port = frame.l4.source_port;
	key.nat_port = frame.l4.destination_port;
	key.protocol = frame.head.ip.protocol;
	verdict = nat_to_guest(skb, &frame, &key, UNTOUCHED);
	return verdict == UNTOUCHED ? drop(skb, 0, REASON_NO_FLOW) : verdict;
}

/* From the fabric: tc ingress on the interfaces that lead to fabric backends. Most traffic there is the host's own. */
SEC("tc")
int onlink_fabric(struct __sk_buff *skb)
{
	struct settings *settings = get_settings();
	struct reverse_key key = { .kind = BACKEND_FABRIC };
	struct frame frame = {};
	__u16 port;

	if (!settings || skb->vlan_present || skb->pkt_type != PACKET_HOST || skb->protocol != bpf_htons(ETH_P_IP) ||
	    !read_eth_ipv4(skb, &frame.head))
		return UNTOUCHED;
	if (!is_tcp_or_udp(&frame) || is_fragment(&frame) || !check_ipv4(skb, &frame) || !read_l4(skb, &frame))
		return UNTOUCHED;
	port = bpf_ntohs(frame.l4.destination_port);
	if (port < settings->fabric_port_min || port > settings->fabric_port_max)
		return UNTOUCHED;
	key.backend = from_ipv4(frame.head.ip.saddr);
	key.nat = from_ipv4(frame.head.ip.daddr);
	key.backend_port = frame.l4.source_port;
	key.nat_port = frame.l4.destination_port;
	key.protocol = frame.head.ip.protocol;
	return nat_to_guest(skb, &frame, &key, UNTOUCHED);
}

/*
 * The last two are attached nowhere: the agent runs them (BPF_PROG_TEST_RUN), so that flows, claimed ports and counts have one writer, the
 * datapath.
 */

/* Ends the flows of vif cb[0] and of service cb[1] (id); zero for any. Returns how many. */
SEC("tc")
int onlink_end_flows(struct __sk_buff *skb)
{
	struct end_flows wanted = { .vif = skb->cb[0], .service = skb->cb[1] };

	end_flows(&wanted);
	return wanted.ended;
}

/* Sees to it that flows end. Returns 0, or a negative errno. */
SEC("tc")
int onlink_start_sweeping(struct __sk_buff *skb)
{
	return start_sweeping();
}

char _license[] SEC("license") = "Dual BSD/GPL";
