/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef ONLINK_ETHERNET_H
#define ONLINK_ETHERNET_H

/*
 * Half of what follows is about single instructions: of what clang does not know to be aligned it copies byte by byte, and who then reads a
 * word of it waits until the last byte is written. MACs lie at even offsets in all structs of this program but struct eth_arp.
 */
typedef __u16 __attribute__((may_alias)) mac_word;

static __always_inline void copy_mac(void *to, const void *from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, sizeof(mac_word)), __builtin_assume_aligned(from, sizeof(mac_word)), ETH_ALEN);
}

/* Back to where the frame came from, from where it was sent to. */
static __always_inline void swap_macs(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}

static __always_inline bool is_multicast_mac(const __u8 *mac)
{
	return mac[0] & 1;
}

static __always_inline bool is_same_mac(const void *one, const void *other)
{
	const mac_word *a = one, *b = other;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static __always_inline bool is_no_mac(const __u8 *mac)
{
	return !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

#endif
