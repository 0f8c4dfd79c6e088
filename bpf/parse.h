/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From bytes to checked fields. Headers may lie outside the linear part of the packet (packet rings leave 14 bytes there, some
 * VMMs too), so whatever is read is pulled first or read through a helper, and all writing goes through helpers: a direct
 * write would make the kernel unshare every cloned frame before the program starts, those of others included.
 */
#ifndef ONLINK_PARSE_H
#define ONLINK_PARSE_H

#include "address.h"
#include "ethernet.h"
#include "verdict.h"

#define IP_FRAGMENT_MASK 0x3fff /* more-fragments flag and offset */
#define IP_OFFSET_MASK 0x1fff
#define IP_DONT_FRAGMENT 0x4000
#define IP_DEFAULT_TTL 64

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct eth_ipv4 {
	__u16 pad;        /* aligns the IPv4 header; the frame starts behind it */
	struct ethhdr eth;
	struct iphdr ip;  /* without options */
};

#define ETH_IPV4_LENGTH (ETH_HLEN + sizeof(struct iphdr))

/* The first bytes of TCP, UDP and ICMP, as far as any of the programs looks. */
struct l4_header {
	union {
		struct {
			__be16 source_port;
			__be16 destination_port;
		};
		struct {
			__u8 icmp_type;
			__u8 icmp_code;
			__be16 icmp_checksum;
		};
	};
	union {
		__be32 tcp_sequence;
		struct {
			__be16 udp_length;
			__be16 udp_checksum;
		};
		struct {
			__be16 icmp_identifier; /* of an echo */
			__be16 icmp_sequence;
		};
	};
	__be32 tcp_acknowledgement;
	__u8 tcp_data_offset; /* upper four bits, in 32-bit words */
	__u8 tcp_flags;
	__be16 tcp_window;
};

struct frame {
	struct eth_ipv4 head;
	struct l4_header l4; /* zero beyond what the protocol has */
	__u32 l4_offset;     /* from the start of the frame */
	__u32 l4_length;     /* IP payload, link-layer padding left out */
};

/* Puts changed Ethernet and IPv4 headers back; 0, or a negative errno. */
static __always_inline long write_eth_ipv4(struct __sk_buff *skb, const struct eth_ipv4 *head)
{
	return bpf_skb_store_bytes(skb, 0, &head->eth, ETH_IPV4_LENGTH, 0);
}

/* Puts changed Ethernet and IPv4 headers and ports (TCP, UDP) back: at once, where no IPv4 options lie between them. 0, or a negative errno. */
static __always_inline long write_headers(struct __sk_buff *skb, const struct frame *frame)
{
	const __u32 ports = 2 * sizeof(__be16);

	if (frame->l4_offset == ETH_IPV4_LENGTH)
		return bpf_skb_store_bytes(skb, 0, &frame->head.eth, ETH_IPV4_LENGTH + ports, 0);
	return write_eth_ipv4(skb, &frame->head) ?: bpf_skb_store_bytes(skb, frame->l4_offset, &frame->l4, ports, 0);
}

/*
 * What a program works on. It lies in a map, since with all the rest it would not fit on the 512 bytes of stack: programs run to
 * their end on one CPU with bottom halves off, so each CPU needs one.
 */
struct scratch {
	__u64 now; /* when the frame came, as of the tick */
	struct frame frame;
	struct flow_key key;
	struct reverse_key reverse_key;
	struct flow flow;
	struct fragment fragment;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* With the time set, frame and keys cleared; NULL cannot be. */
static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;
	struct scratch *found = bpf_map_lookup_elem(&scratch, &zero);

	if (found) {
		found->now = coarse_now();
		__builtin_memset(&found->frame, 0, sizeof(found->frame));
		__builtin_memset(&found->key, 0, sizeof(found->key));
		__builtin_memset(&found->reverse_key, 0, sizeof(found->reverse_key));
	}
	return found;
}

/* Makes the first `length` bytes readable between data and data_end; false where the frame is shorter. */
static __always_inline bool make_linear(struct __sk_buff *skb, __u32 length)
{
	if ((void *)(long)skb->data + length <= (void *)(long)skb->data_end)
		return true;
	return skb->len >= length && bpf_skb_pull_data(skb, length) == 0;
}

/* Ethernet and IPv4 headers as they are, nothing checked; false where the frame is too short to have them. */
static __always_inline bool read_eth_ipv4(struct __sk_buff *skb, struct eth_ipv4 *head)
{
	void *data;

	if (!make_linear(skb, ETH_IPV4_LENGTH))
		return false;
	data = (void *)(long)skb->data;
	if (data + ETH_IPV4_LENGTH > (void *)(long)skb->data_end)
		return false;
	/* In words, as the IPv4 header will be read: see ethernet.h. */
	copy_mac(head->eth.h_dest, data + offsetof(struct ethhdr, h_dest));
	copy_mac(head->eth.h_source, data + offsetof(struct ethhdr, h_source));
	head->eth.h_proto = *(__be16 *)(data + offsetof(struct ethhdr, h_proto));
	head->ip = *(struct iphdr *)(data + ETH_HLEN);
	return true;
}

/* The destination of an IPv4 frame, nothing else looked at; false where the frame is too short to have one. */
static __always_inline bool read_ipv4_destination(struct __sk_buff *skb, __be32 *destination)
{
	void *data;

	if (!make_linear(skb, ETH_IPV4_LENGTH))
		return false;
	data = (void *)(long)skb->data;
	if (data + ETH_IPV4_LENGTH > (void *)(long)skb->data_end)
		return false;
	*destination = *(__be32 *)(data + ETH_HLEN + offsetof(struct iphdr, daddr));
	return true;
}

static __always_inline bool is_fragment(const struct frame *frame)
{
	return frame->head.ip.frag_off & bpf_htons(IP_FRAGMENT_MASK);
}

static __always_inline bool is_later_fragment(const struct frame *frame)
{
	return frame->head.ip.frag_off & bpf_htons(IP_OFFSET_MASK);
}

static __always_inline bool is_tcp_or_udp(const struct frame *frame)
{
	return frame->head.ip.protocol == IPPROTO_TCP || frame->head.ip.protocol == IPPROTO_UDP;
}

/*
 * Row I9, as far as the IPv4 header goes: version, header length and total length agree with the frame. Sets l4_offset and
 * l4_length. A total length of zero with GSO is the kernel's form of an IPv4 packet over 64 KiB.
 */
static __always_inline bool check_ipv4(const struct __sk_buff *skb, struct frame *frame)
{
	const struct iphdr *ip = &frame->head.ip;
	__u32 header = ip->ihl * 4;
	__u32 total = bpf_ntohs(ip->tot_len);

	if (total == 0 && skb->gso_size)
		total = skb->len - ETH_HLEN;
	if (ip->version != 4 || header < sizeof(*ip) || total < header || total > skb->len - ETH_HLEN)
		return false;
	frame->l4_offset = ETH_HLEN + header;
	frame->l4_length = total - header;
	return true;
}

/*
 * Row I9 for TCP, UDP and ICMP: reads the header and checks its own lengths against the IP payload. Not for later fragments; the length in
 * the UDP header of a first fragment is that of the whole datagram. Other protocols have no header here and pass.
 */
static __always_inline bool read_l4(struct __sk_buff *skb, struct frame *frame)
{
	struct l4_header *l4 = &frame->l4;
	__u32 length;

	switch (frame->head.ip.protocol) {
	case IPPROTO_TCP:
		if (frame->l4_length < sizeof(struct tcphdr) || bpf_skb_load_bytes(skb, frame->l4_offset, l4, sizeof(*l4)))
			return false;
		length = (l4->tcp_data_offset >> 4) * 4;
		return length >= sizeof(struct tcphdr) && length <= frame->l4_length;
	case IPPROTO_UDP:
		if (frame->l4_length < sizeof(struct udphdr) || bpf_skb_load_bytes(skb, frame->l4_offset, l4, sizeof(struct udphdr)))
			return false;
		length = bpf_ntohs(l4->udp_length);
		return length >= sizeof(struct udphdr) && (length <= frame->l4_length || is_fragment(frame));
	case IPPROTO_ICMP:
		return frame->l4_length >= sizeof(struct icmphdr) &&
		       bpf_skb_load_bytes(skb, frame->l4_offset, l4, sizeof(struct icmphdr)) == 0;
	default:
		return true;
	}
}

#endif
