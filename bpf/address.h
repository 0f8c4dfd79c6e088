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

#endif
