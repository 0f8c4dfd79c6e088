/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Internet checksums (RFC 1071), changed incrementally (RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m')), carries folded. */
#ifndef ONLINK_CHECKSUM_H
#define ONLINK_CHECKSUM_H

/* The sum of ~from + to over two 32-bit words, to be added to a one's complement sum. */
static __always_inline __u64 csum_change(__be32 from, __be32 to)
{
	return (__u64)(__u32)~from + to;
}

static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

static __always_inline __u16 csum_fold16(__u64 sum)
{
	__u32 half = csum_fold32(sum);

	half = (half & 0xffff) + (half >> 16);
	half = (half & 0xffff) + (half >> 16);
	return half;
}

/* A checksum field after the summed words changed by `change`. */
static __always_inline __u16 csum_update(__u16 check, __u64 change)
{
	return ~csum_fold16((__u64)(__u16)~check + change);
}

#endif
