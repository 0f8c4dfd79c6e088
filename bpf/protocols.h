/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Numbers and headers of ARP and ICMP. linux/if_arp.h and linux/icmp.h have them too, but bring libc's headers along, which want a target machine. */
#ifndef ONLINK_PROTOCOLS_H
#define ONLINK_PROTOCOLS_H

#define ARPHRD_ETHER 1 /* RFC 826 */
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

#define ICMP_ECHOREPLY 0 /* RFC 792 */
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12

#define ICMP_PROT_UNREACH 2
#define ICMP_PORT_UNREACH 3

struct icmphdr {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#endif
