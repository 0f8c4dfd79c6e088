/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps. Who writes each is said beside it; all are pinned by the loader, so they outlive the agent. */
#ifndef ONLINK_MAPS_H
#define ONLINK_MAPS_H

#include "onlink.h"

/* Capacities; the loader sets that of the flow maps before they are made (DatapathOptions.flowCapacity). */
#define MAX_SERVICES 65536
#define MAX_BACKENDS 262144
#define MAX_VIFS 16384
#define MAX_FLOWS 65536
#define MAX_VIF_ADDRESSES 65536
#define MAX_DEFENCES 8192
#define MAX_FLOW_FILTERS 16384
#define EVENTS_BYTES (1 << 20)

/* Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Written by the agent. The one lookup that traffic of others costs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ip_address);
	__type(value, struct service_address);
} service_addresses SEC(".maps");

/* Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

/* Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_BACKENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct backend_key);
	__type(value, struct backend);
} backends SEC(".maps");

/* Written by the agent. Key: ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIFS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct vif);
} vifs SEC(".maps");

/* Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIF_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vif_address);
	__type(value, __u32);
} vif_addresses SEC(".maps");

/* Written by the agent. Value: ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIFS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ip_address);
	__type(value, __u32);
} metadata_addresses SEC(".maps");

/* Written by the datapath. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_DEFENCES);
	__type(key, struct defence_key);
	__type(value, __u64);
} defences SEC(".maps");

/* Written by the datapath; the agent clears a vif's places when it goes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIFS * FRAGMENT_SLOTS_VIF + 2 * FRAGMENT_SLOTS_OTHER);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

/* From the datapath to the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* Written by the datapath: events that found no room, or were too many for their vif. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} events_lost SEC(".maps");

/* Made by the agent with the vif, written by the datapath. Key: ifindex. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIFS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct vif_state);
} vif_states SEC(".maps");

/*
 * Made by the agent with the vif, written by the datapath. Key: ifindex. Not per CPU: that would be 768 bytes for each vif and CPU, and the
 * kernel refuses them (ENOMEM) where hundreds are asked for at once.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_VIFS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct vif_counters);
} vif_counters SEC(".maps");

/* Written by the datapath; vifs that are gone stay counted here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASON_COUNT);
	__type(key, __u32); /* enum reason */
	__type(value, struct counter);
} counters SEC(".maps");

/* Written by the datapath; the agent deletes those of a service that goes. Key: service id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct service_counters);
} service_counters SEC(".maps");

/* Written by the datapath: how many flows the system has. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} flow_total SEC(".maps");

/* Written by the datapath: where the search for a free port begins next. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next_port SEC(".maps");

/*
 * Written by the datapath alone. The flows are spread over several maps, so that the sweeper (flow.h) can go through a million of
 * them in small steps; the agent makes the inner maps.
 */
struct flows_of_shard {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct flow_key)); /* by size: clang leaves no type for inner maps */
	__uint(value_size, sizeof(struct flow));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FLOW_SHARDS);
	__type(key, __u32);
	__array(values, struct flows_of_shard);
} flows SEC(".maps");

/*
 * Written by the agent for as long as it looks for flows: many sets of them in one walk. Value: how many were found, by the datapath.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOW_FILTERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_filter);
	__type(value, __u32);
} flow_filters SEC(".maps");

/* Written by the datapath alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweeper);
} sweeper SEC(".maps");

/* Written by the datapath alone. An entry also claims the source port towards a backend. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct reverse_key);
	__type(value, struct flow_key);
} reverse SEC(".maps");

static __always_inline struct settings *get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

#endif
