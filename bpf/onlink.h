/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every struct and number that the datapath shares with the agent. Declared here and nowhere else: src/datapath/layout.ts
 * repeats the offsets, and layout.kernel.test.ts compares them with the BTF of the compiled object.
 *
 * Byte order: __be16, __be32 and struct ip_address are network order, as on the wire; everything else is host order.
 * Padding is spelled out, so that hash keys never hold bytes that nobody wrote.
 */
#ifndef ONLINK_H
#define ONLINK_H

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d (RFC 4291 s. 2.5.5.2). */
struct ip_address {
	__be32 words[4];
};

/* Why a frame got its verdict; the row of the datapath table is in the comment. A number is never used again. */
enum reason {
	REASON_NONE = 0,
	REASON_ARP_REPLY = 1,         /* A1: replied, service address at the gateway MAC */
	REASON_ARP_PROBE_REPLY = 2,   /* A2: replied to a probe */
	REASON_ARP_CONFLICT = 3,      /* A3: the guest claims a service address; dropped, or turned into the defence */
	REASON_ARP_GATEWAY = 4,       /* A4: replied for the guest's gateway */
	REASON_ARP_OTHER = 5,         /* A5: untouched */
	REASON_FORWARDED = 7,         /* I2: guest to backend */
	REASON_ECHO_REPLY = 8,        /* I3: replied */
	REASON_UNKNOWN_PORT = 9,      /* I4: no service on that port or protocol; rejected or dropped */
	REASON_NO_BACKEND = 10,       /* I4: a service without a backend; rejected, dropped or passed */
	REASON_FRAGMENT = 11,         /* I5: a later fragment whose first was not seen, dropped */
	REASON_ICMP_ERROR = 12,       /* I6: an error about a flow, translated */
	REASON_SPOOFED = 13,          /* I7: dropped */
	REASON_LIMIT = 14,            /* I8: a new flow over a limit, dropped */
	REASON_MALFORMED = 15,        /* I9: a header that lies, dropped */
	REASON_VLAN = 16,             /* V: untouched */
	REASON_NO_FLOW = 17,          /* I2, I6, host side: belongs to no flow and opens none; TCP from the guest is rejected, else dropped */
	REASON_NO_PORT = 18,          /* I2: no free source port towards the backend, dropped */
	REASON_RETURNED = 19,         /* host and fabric side: to the guest */
	REASON_COUNT = 32,            /* size of the counter arrays, not a reason */
};

/* The one entry of map settings. */
struct settings {
	struct ip_address host_service_address; /* what the guest sees as the source of a flow that the host opens */
	__u32 host_device;            /* ifindex of onlink0 */
	__u8 host_mac[6];             /* MAC of onlink0 */
	__u8 gateway_mac[6];          /* the MAC that answers for every service address */
	__u16 fabric_port_min;        /* source ports towards fabric backends, both ends included */
	__u16 fabric_port_max;
	__u32 max_flows;              /* on the system */
	__u32 max_flows_per_vif;
	__u32 timeout_tcp_syn;        /* timeouts are in seconds */
	__u32 timeout_tcp_established;
	__u32 timeout_tcp_closing;
	__u32 timeout_udp;
	__u32 timeout_udp_answered;
	__u32 timeout_icmp;
	__u32 flow_events;            /* not zero: events of flows opened and closed are wanted */
	__u32 other_addresses;        /* not zero: service addresses may lie outside 169.254/16 */
	__u32 carrying_flows;         /* not zero: flows of another version are on their way into these maps */
	__u32 hash_seed;              /* random, so that guests cannot choose the shard of their flows */
};

/* Map service_addresses: key struct ip_address. An entry says that the address is ours. */
struct service_address {
	__u32 services;               /* how many services the address has */
};

/* Map services. */
struct service_key {
	struct ip_address address;
	__be16 port;
	__u8 protocol;                /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};

enum when_no_backend {
	WHEN_NO_BACKEND_REJECT = 1,
	WHEN_NO_BACKEND_DROP = 2,
	WHEN_NO_BACKEND_PASS = 3,     /* untouched, on to wherever the host's network takes it */
};

struct service {
	__u32 id;                     /* first half of struct backend_key */
	__u16 backends;               /* slots 0 .. backends - 1 take new flows */
	__u8 response_hop_limit;      /* TTL of what the guest gets back */
	__u8 when_no_backend;         /* enum when_no_backend */
	__u32 drain;                  /* for the agent: how long its flows last once the service is removed, in ms */
	__u32 pad;
	__u64 drain_ends;             /* not zero: the service is removed, and the agent ends its flows then (ns, CLOCK_MONOTONIC) */
};

/* Map backends. */
struct backend_key {
	__u32 service;
	__u32 slot;
};

/* Map service_counters: key __u32 id of the service. Frames and bytes are added as to vif_counters. */
struct service_counters {
	__u64 flows;                  /* opened by guests */
	__u64 refused;                /* frames that found no backend in use */
	__u64 frames_out;             /* guest to backend */
	__u64 bytes_out;
	__u64 frames_in;              /* backend to guest */
	__u64 bytes_in;
};

enum backend_kind {
	BACKEND_HOST_LOCAL = 1,
	BACKEND_FABRIC = 2,
};

struct backend {
	struct ip_address address;
	struct ip_address source;     /* fabric: the host's own address towards the backend; host-local: zero */
	__u32 ifindex;                /* fabric: the interface that leads to the backend; host-local: zero */
	__be16 port;
	__u8 kind;                    /* enum backend_kind */
	__u8 pad;
};

/* struct vif.flags */
#define VIF_ANTI_SPOOF 1              /* row I7 holds */
#define VIF_HAS_ADDRESSES 2           /* the guest's addresses are known: map vif_addresses */
#define VIF_REJECT_UNKNOWN_PORT 4     /* row I4 answers */
#define VIF_ARP_BROADCAST 8           /* A1 and A2 reply to the link-layer broadcast address */

/* Map vifs: key __u32 ifindex. Written by the agent alone. Zero stands for "none" or "not known". */
struct vif {
	struct ip_address metadata_address;
	struct ip_address gateway;    /* answered for by row A4 */
	struct ip_address guest;      /* whom the host reaches by the metadata address */
	__u8 guest_mac[6];
	__u8 flags;                   /* VIF_* */
	__u8 pad;
};

/* Map vif_addresses: an entry allows the source address (row I7). */
struct vif_address {
	struct ip_address address;
	__u32 vif;                    /* ifindex */
};

/*
 * Map vif_states: key __u32 ifindex. Made by the agent with the vif, then written by the datapath alone. What is for people to see (from
 * `asked` on) is written without a lock: two CPUs at once may mix theirs. Times in ns, CLOCK_MONOTONIC; zero: never.
 */
struct vif_state {
	__u64 reject_tat;             /* limit of rejections, see allow() */
	__u64 event_tat;              /* limit of events */
	struct ip_address guest;      /* learned from the guest's own frames to services */
	__u8 guest_mac[6];
	__u8 pad[2];
	__u32 flows;                  /* how many flows the vif has now */
	__u32 pad2;
	struct ip_address asked;      /* by ARP: a service address, or another link-local one; not by a probe */
	struct ip_address answered;   /* the last of those that was answered */
	struct ip_address sent_to;    /* the service address of the last frame that was in no open flow */
	struct ip_address spoofed;    /* the last source that row I7 dropped */
	__u64 asked_at;
	__u64 answered_at;
	__u64 sent_at;
	__u64 spoofed_at;
	__u8 sent_to_mac[6];          /* where that frame was addressed to */
	__u8 pad3[2];
};

/* Map defences: when a service address was last defended on a vif (ns, CLOCK_MONOTONIC). */
struct defence_key {
	struct ip_address address;
	__u32 vif;
};

/* Map metadata_addresses: key struct ip_address, value __u32 ifindex of the vif. Written by the agent alone. */

/* The programs, where a number for them is needed. */
enum side {
	SIDE_VIF = 1,
	SIDE_HOST = 2,
	SIDE_FABRIC = 3,
};

/*
 * Map fragments: the datagrams of which the first fragment went through, so that the later ones can follow. Each vif has its
 * own few places, as have the host and the fabric, so that nobody can push out another's.
 */
#define FRAGMENT_SLOTS_VIF 16
#define FRAGMENT_SLOTS_OTHER 1024
struct fragment_key {
	__u32 vif;                    /* ifindex; zero on the other sides */
	__u16 slot;                   /* low bits of the identification */
	__u8 side;                    /* enum side */
	__u8 pad;
};

struct fragment {
	struct ip_address source;     /* as the fragment comes */
	struct ip_address destination;
	struct ip_address new_source; /* as it leaves */
	struct ip_address new_destination;
	__u64 seen;                   /* ns, CLOCK_MONOTONIC */
	__u32 ifindex;                /* where it leaves; zero: into the host's stack */
	__u32 vif;                    /* counted for */
	__u16 reason;                 /* enum reason: what the first was counted as, and this one will be */
	__be16 identification;
	__u8 protocol;
	__u8 ttl;
	__u8 new_destination_mac[6];
	__u8 new_source_mac[6];
	__u8 neighbour;               /* not zero: to the fabric, the kernel finds the next hop */
	__u8 pad[5];
};

/*
 * Maps counters (key enum reason; one for each CPU) and, times REASON_COUNT, vif_counters (key __u32 ifindex). To the latter, frames of flows are added by
 * the sweep, so within some seconds, when a flow ends, and when the agent has it done; the time is then that of the flow's last frame, of either end.
 */
struct counter {
	__u64 frames;
	__u64 bytes;                  /* length on the wire, Ethernet header included */
	__u64 last;                   /* vif_counters: when the last frame was counted (ns, CLOCK_MONOTONIC); zero: never */
};

struct vif_counters {
	struct counter reasons[REASON_COUNT];
};

/* Keys of the maps inside flows: a flow as the guest sees it. The vif is part of it, so guests with the same address never mix. */
struct flow_key {
	struct ip_address guest;
	struct ip_address service;
	__u32 vif;                    /* ifindex */
	__be16 guest_port;
	__be16 service_port;
	__u8 protocol;
	__u8 pad[3];
};

enum flow_state {
	FLOW_OPENING = 1,             /* TCP: the opener has not acknowledged an answer yet; UDP: not answered yet */
	FLOW_ESTABLISHED = 2,
	FLOW_CLOSING = 3,             /* TCP: RST, or FIN from both ends */
};

enum flow_end {
	FLOW_GUEST = 1,
	FLOW_BACKEND = 2,             /* or the host, where it opened the flow */
};

/* The flow as the backend sees it. Host side: the reply's source address is left out (zero), since a UDP server bound to
 * the wildcard answers from whichever address the route prefers. */
struct reverse_key {
	struct ip_address backend;
	struct ip_address nat;        /* what the guest's address became */
	__be16 backend_port;
	__be16 nat_port;
	__u8 protocol;
	__u8 kind;                    /* enum backend_kind */
	__u8 pad[2];
};

/*
 * Values of the maps inside flows. The order is that of who writes: the two ends' frames are often met on different CPUs, and a cache line that one
 * writes is far away for the other. So is one that a processor merely fetches because it lies beside those it reads: lines come in pairs of 128
 * bytes, and after two in a row the next. Hence the padding. With what the kernel puts before it (104 bytes, since Linux 6.1) the first 24 bytes
 * share a pair of lines with the key, and each of the other three parts has a pair of its own, the two that every frame writes behind the one that is
 * seldom used. That costs memory: 512 bytes for an entry, where 256 would do if the parts lay close to each other.
 */
struct flow {
	/* Read by both, written now and then. */
	__u64 last_seen;              /* ns, CLOCK_MONOTONIC, as of the tick (bpf_ktime_get_coarse_ns) */
	__u8 guest_mac[6];            /* both MACs are those of the guest's last frame */
	__u8 service_mac[6];          /* the MAC that the guest addressed; replies come from it */
	__u8 state;                   /* enum flow_state */
	__u8 fins;                    /* enum flow_end, or'ed: who has sent FIN */
	__u8 opener;                  /* enum flow_end */
	__u8 answered;                /* not zero: the other end has sent something */

	/* Seldom used. */
	__u64 opened;                 /* the same clock as last_seen */
	__u64 added_frames_out;       /* as much of the counts as stands in vif_counters and service_counters */
	__u64 added_bytes_out;
	__u64 added_frames_in;
	__u64 added_bytes_in;
	__u32 ended;                  /* not zero: somebody is taking the flow away, see end_flow() */
	__u8 pad[84];

	/* For frames of the guest. */
	__u64 frames_out;             /* guest to backend */
	__u64 bytes_out;
	struct ip_address backend;
	struct ip_address nat;
	__u32 ifindex;                /* fabric: egress interface; host-local: zero */
	__u32 service;                /* id */
	__be16 backend_port;
	__be16 nat_port;
	__u8 kind;                    /* enum backend_kind */
	__u8 pad2[67];

	/* For frames of the backend. */
	__u64 frames_in;              /* backend to guest */
	__u64 bytes_in;
	__u8 response_hop_limit;
	__u8 pad3[7];
};

/* By which fields of theirs flows are looked for, or'ed. */
enum flow_field {
	FLOW_FIELD_VIF = 1,
	FLOW_FIELD_SERVICE = 2,
	FLOW_FIELD_BACKEND = 4,       /* address and port */
	FLOW_FIELD_IFINDEX = 8,
	FLOW_FIELD_ADDRESS = 16,      /* the service address */
};

/* Which flows are looked for: key of map flow_filters. Fields by which nobody looks are zero. */
struct flow_filter {
	struct ip_address backend;
	struct ip_address address;
	__u32 vif;                    /* ifindex */
	__u32 service;                /* id */
	__u32 ifindex;                /* egress interface */
	__be16 backend_port;
	__u8 pad[2];
};

/* Map flows is an array of that many hash maps; which one holds a flow is up to the datapath (flow.h). */
#define FLOW_SHARDS 32

enum event_kind {
	EVENT_CONFLICT = 1,           /* row A3: service = the address that is claimed, mac = the MAC that it is claimed for */
	EVENT_SPOOFED = 2,            /* row I7: guest = source, service = destination, mac = Ethernet source */
	EVENT_LIMIT = 3,              /* row I8 */
	EVENT_FLOW_OPENED = 4,
	EVENT_FLOW_CLOSED = 5,
};

/* What the ring buffer events holds. Fields that an event has no use for are zero. */
struct event {
	__u64 time;                   /* ns, CLOCK_MONOTONIC */
	__u64 frames_out;             /* flow closed: as in struct flow */
	__u64 bytes_out;
	__u64 frames_in;
	__u64 bytes_in;
	struct ip_address guest;
	struct ip_address service;
	struct ip_address backend;
	__u32 vif;
	__be16 guest_port;
	__be16 service_port;
	__be16 backend_port;
	__u8 mac[6];
	__u8 kind;                    /* enum event_kind */
	__u8 protocol;
	__u8 pad[6];
};

/* The one entry of map sweeper. */
struct sweeper {
	struct bpf_timer timer;
	__u32 shard;                  /* swept next */
	__u32 pad;
};

#endif
