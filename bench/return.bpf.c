// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A program that only returns: what any tc program costs, to compare with. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int only_return(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
