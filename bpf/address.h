/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* IPv4 addresses in the form that all keys hold. */
#ifndef ONLINK_ADDRESS_H
#define ONLINK_ADDRESS_H

#include "onlink.h"

static __always_inline struct ip_address from_ipv4(__be32 address)
{
	struct ip_address mapped = { .words = { 0, 0, bpf_htonl(0xffff), address } };

	return mapped;
}

static __always_inline __be32 to_ipv4(const struct ip_address *address)
{
	return address->words[3];
}

static __always_inline bool is_same_address(const struct ip_address *a, const struct ip_address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] && a->words[3] == b->words[3];
}

static __always_inline bool is_no_address(const struct ip_address *a)
{
	return !(a->words[0] | a->words[1] | a->words[2] | a->words[3]);
}

/* Whether a host can have the address: not 0/8, 127/8, nor multicast, reserved and broadcast (RFC 1122 s. 3.2.1.3). */
static __always_inline bool is_unicast_ipv4(__be32 address)
{
	__u32 first = bpf_ntohl(address) >> 24;

	return first != 0 && first != 127 && first < 224;
}

static __always_inline bool is_link_local_ipv4(__be32 address)
{
	return (address & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000);
}

#endif
