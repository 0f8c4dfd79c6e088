/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flows: opened by the guest's first frame, followed by what both ends send, ended by a sweep that a timer of the kernel starts. No
 * agent is needed for any of it.
 *
 * There is one timer for all flows. One in each flow would end it to the second, but takes memory when it is made, and since Linux 6.18
 * from an allocator that may say no (kmalloc_nolock): seen to refuse every flow after the first few hundred.
 *
 * A flow is two entries: `flows` (the guest's view, with the state) and `reverse` (the backend's view, leading back to it).
 * First comes the entry whose key must be unique, since making it claims the port: that in `reverse` where the guest opens the flow, that
 * in `flows` where the host does. In the end only who marks the flow goes on, so that none is counted off twice.
 */
#ifndef ONLINK_FLOW_H
#define ONLINK_FLOW_H

#include "event.h"
#include "flow-count.h"
#include "parse.h"

#define CLOCK_MONOTONIC 1
#define EEXIST 17
/* All shards are swept in this time; so much later than its timeout a flow may end. */
#define SWEEP_NS (2 * NS_PER_S)
/* How often to look whether there are flows again. */
#define SWEEP_IDLE_NS NS_PER_S
#define EBUSY 16
#define PORT_ATTEMPTS 64
/* Where a guest's own source port is taken (two service addresses, one backend), another is drawn from here up. */
#define HOST_LOCAL_PORT_MIN 1024

static __always_inline __u64 flow_timeout_ns(const struct settings *settings, __u8 protocol, __u8 state)
{
	__u64 seconds;

	if (protocol == IPPROTO_ICMP)
		seconds = settings->timeout_icmp;
	else if (protocol == IPPROTO_TCP)
		seconds = state == FLOW_ESTABLISHED ? settings->timeout_tcp_established :
			  state == FLOW_CLOSING	    ? settings->timeout_tcp_closing :
						      settings->timeout_tcp_syn;
	else
		seconds = state == FLOW_ESTABLISHED ? settings->timeout_udp_answered : settings->timeout_udp;
	return seconds * NS_PER_S;
}

static __always_inline struct reverse_key reverse_key_of(const struct flow_key *key, const struct flow *flow)
{
	struct reverse_key reverse = {
		.nat = flow->nat,
		.backend_port = flow->backend_port,
		.nat_port = flow->nat_port,
		.protocol = key->protocol,
		.kind = flow->kind,
	};

	if (flow->kind == BACKEND_FABRIC)
		reverse.backend = flow->backend;
	return reverse;
}

static __always_inline void count_flow_off(__u32 vif)
{
	__u32 zero = 0, *total = bpf_map_lookup_elem(&flow_total, &zero);
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &vif);

	if (total)
		__sync_fetch_and_sub(total, 1);
	if (state)
		__sync_fetch_and_sub(&state->flows, 1);
}

/* Row I8. False where the vif or the system is at its limit. */
static __always_inline bool count_flow_on(const struct settings *settings, __u32 vif)
{
	__u32 zero = 0, *total = bpf_map_lookup_elem(&flow_total, &zero);
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &vif);

	if (!total || !state)
		return false;
	if (__sync_fetch_and_add(&state->flows, 1) >= settings->max_flows_per_vif) {
		__sync_fetch_and_sub(&state->flows, 1);
		return false;
	}
	if (__sync_fetch_and_add(total, 1) >= settings->max_flows) {
		__sync_fetch_and_sub(total, 1);
		__sync_fetch_and_sub(&state->flows, 1);
		return false;
	}
	return true;
}

/* The map that holds a flow, if at all; NULL where the agent has not made it. */
static __always_inline void *flows_with(const struct settings *settings, const struct flow_key *key)
{
	/* Multiply and take the top bits: what guests choose freely is spread, and they do not know the seed. */
	__u32 hash = key->vif * 0x9e3779b1 ^ to_ipv4(&key->guest) ^ settings->hash_seed;
	__u32 shard;

	hash = (hash ^ (key->guest_port << 16 | key->service_port)) * 0x85ebca6b;
	hash = (hash ^ hash >> 15 ^ settings->hash_seed) * 0xc2b2ae35;
	shard = hash >> 27;
	return bpf_map_lookup_elem(&flows, &shard);
}

static __always_inline void report_flow(__u8 kind, const struct flow_key *key, const struct flow *flow)
{
	struct settings *settings = get_settings();
	struct event *event;

	if (!settings || !settings->flow_events)
		return;
	event = reserve_event(kind, key->vif);
	if (!event)
		return;
	event->guest = key->guest;
	event->service = key->service;
	event->backend = flow->backend;
	event->guest_port = key->guest_port;
	event->service_port = key->service_port;
	event->backend_port = flow->backend_port;
	event->protocol = key->protocol;
	copy_mac(event->mac, flow->guest_mac);
	event->frames_out = flow->frames_out;
	event->bytes_out = flow->bytes_out;
	event->frames_in = flow->frames_in;
	event->bytes_in = flow->bytes_in;
	bpf_ringbuf_submit(event, 0);
}

/*
 * Only who marks the flow goes on: another CPU that found it idle too would else delete one that was opened in its place meanwhile, and leave
 * that one's entry in `reverse`.
 */
static __always_inline void end_flow(void *shard, struct flow_key *key, struct flow *flow)
{
	struct reverse_key reverse_key;

	if (__sync_lock_test_and_set(&flow->ended, 1))
		return;
	reverse_key = reverse_key_of(key, flow);
	if (bpf_map_delete_elem(shard, key))
		return;
	bpf_map_delete_elem(&reverse, &reverse_key);
	count_flow_off(key->vif);
	add_counts(key, flow);
	report_flow(EVENT_FLOW_CLOSED, key, flow);
}

/*
 * A frame may have been seen on another CPU after `now` was read: the difference is signed. Both times are those of a tick, so the very
 * timeout is enough.
 */
static __always_inline bool is_idle(const struct settings *settings, const struct flow_key *key, const struct flow *flow, __u64 now)
{
	return (__s64)(now - flow->last_seen) >= (__s64)flow_timeout_ns(settings, key->protocol, flow->state);
}

/* The flow with scratch->key, if there is one. One that has been idle for too long is ended here and now, though the sweep has not come to it yet. */
static __always_inline struct flow *find_flow(struct scratch *scratch, const struct settings *settings, void *shard)
{
	struct flow_key *key = &scratch->key;
	struct flow *flow = bpf_map_lookup_elem(shard, key);

	if (flow && is_idle(settings, key, flow, scratch->now)) {
		end_flow(shard, key, flow);
		return NULL;
	}
	return flow;
}

/* Only a bare SYN opens a TCP flow: anything else has lost its own and must not meet another backend. */
static __always_inline bool opens_tcp(const struct frame *frame)
{
	return (frame->l4.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

static long sweep_flow(void *shard, struct flow_key *key, struct flow *flow, __u64 *now)
{
	struct settings *settings = get_settings();
	struct flow_key own = *key;

	if (settings && is_idle(settings, key, flow, *now))
		end_flow(shard, &own, flow);
	else
		add_counts(&own, flow);
	return 0;
}

static int sweep(void *map, __u32 *key, struct sweeper *sweeper)
{
	__u32 zero = 0, shard = sweeper->shard++ % FLOW_SHARDS, *total = bpf_map_lookup_elem(&flow_total, &zero);
	__u64 now = coarse_now();
	void *flows_of_shard = bpf_map_lookup_elem(&flows, &shard);

	if (flows_of_shard)
		bpf_for_each_map_elem(flows_of_shard, sweep_flow, &now, 0);
	bpf_timer_start(&sweeper->timer, total && *total ? SWEEP_NS / FLOW_SHARDS : SWEEP_IDLE_NS, 0);
	return 0;
}

/* Starts the sweeping, or, where another version of this program sweeps, takes over. 0, or a negative errno. */
static __always_inline long start_sweeping(void)
{
	__u32 zero = 0;
	struct sweeper *sweeper_entry = bpf_map_lookup_elem(&sweeper, &zero);
	long error;

	if (!sweeper_entry)
		return -EBUSY;
	error = bpf_timer_init(&sweeper_entry->timer, &sweeper, CLOCK_MONOTONIC);
	if (error && error != -EBUSY)
		return error;
	error = bpf_timer_set_callback(&sweeper_entry->timer, sweep);
	return error ? error : bpf_timer_start(&sweeper_entry->timer, SWEEP_NS / FLOW_SHARDS, 0);
}

/*
 * Claims a source port towards the backend; 0, or the reason why there is none. Towards the fabric the ports are taken one after the other, so
 * that one is used again as late as can be, when the backend has forgotten who had it.
 */
static __always_inline __u32 claim_port(const struct settings *settings, const struct flow_key *key, struct reverse_key *reverse_key)
{
	__u32 first = HOST_LOCAL_PORT_MIN, span = 65536 - HOST_LOCAL_PORT_MIN, offset, zero = 0, *next;
	int error; /* not long: before Linux 6.4 the upper half of what a map update returns is undefined */

	if (reverse_key->kind == BACKEND_FABRIC) {
		first = settings->fabric_port_min;
		span = settings->fabric_port_max - first + 1;
	} else if (key->guest_port) {
		/* The port stays where it can: an operator finds the guest's own port in the server's log. */
		reverse_key->nat_port = key->guest_port;
		error = bpf_map_update_elem(&reverse, reverse_key, key, BPF_NOEXIST);
		if (error != -EEXIST)
			return error ? REASON_LIMIT : 0;
	}
	next = bpf_map_lookup_elem(&next_port, &zero);
	if (!span || !next)
		return REASON_NO_PORT;
	offset = __sync_fetch_and_add(next, 1);
	for (int attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
		reverse_key->nat_port = bpf_htons(first + (offset + attempt) % span);
		error = bpf_map_update_elem(&reverse, reverse_key, key, BPF_NOEXIST);
		if (error != -EEXIST)
			return error ? REASON_LIMIT : 0;
	}
	return REASON_NO_PORT;
}

/* An empty flow to put together. */
static __always_inline struct flow *new_flow(struct scratch *scratch, __u8 opener)
{
	struct flow *flow = &scratch->flow;

	__builtin_memset(flow, 0, sizeof(*flow));
	flow->opened = flow->last_seen = scratch->now;
	flow->state = FLOW_OPENING;
	flow->opener = opener;
	return flow;
}

static __always_inline bool leads_the_same_way(const struct flow *a, const struct flow *b)
{
	return is_same_address(&a->backend, &b->backend) && is_same_address(&a->nat, &b->nat) && a->ifindex == b->ifindex &&
	       a->backend_port == b->backend_port && a->kind == b->kind && a->opener == b->opener;
}

/* Puts a new flow in the place of a former one that leads the same way: what they have in common is not written, and stays near to all CPUs. */
static __always_inline void reopen(struct flow *former, const struct flow *flow)
{
	former->last_seen = former->opened = flow->opened;
	copy_mac(former->guest_mac, flow->guest_mac);
	copy_mac(former->service_mac, flow->service_mac);
	former->state = flow->state;
	former->fins = 0;
	former->answered = 0;
	take_back(&former->frames_out, &former->added_frames_out);
	take_back(&former->bytes_out, &former->added_bytes_out);
	take_back(&former->frames_in, &former->added_frames_in);
	take_back(&former->bytes_in, &former->added_bytes_in);
	former->service = flow->service;
	former->response_hop_limit = flow->response_hop_limit;
}

/*
 * Row I2: a flow for this frame of the guest, to one of the service's backends, chosen at random. 0, or the reason why there is none.
 *
 * `former`: the closing flow of the same ends, or NULL. Where the new one has the same backend it takes the place of the former with its source
 * port: the backend may hold the old connection in TIME_WAIT, and takes the new one since its sequence numbers and timestamps come after those of
 * the old (RFC 6191), which is only so for the ends that had it before. Else the former ends.
 */
static __noinline enum reason open_flow(struct scratch *scratch, const struct service *service, struct flow *former)
{
	const struct frame *frame = &scratch->frame;
	struct flow_key *key = &scratch->key;
	struct reverse_key *reverse_key = &scratch->reverse_key;
	struct settings *settings = get_settings();
	struct vif *vif = bpf_map_lookup_elem(&vifs, &key->vif);
	struct backend_key backend_key = {};
	struct flow *flow = new_flow(scratch, FLOW_GUEST);
	struct backend *backend;
	__u32 reason;
	void *shard;

	if (!settings || !vif || !service || !service->backends)
		return REASON_NO_BACKEND;
	shard = flows_with(settings, key);
	backend_key.service = service->id;
	backend_key.slot = bpf_get_prandom_u32() % service->backends;
	backend = bpf_map_lookup_elem(&backends, &backend_key);
	if (!backend || !shard)
		return REASON_NO_BACKEND;

	flow->backend = backend->address;
	flow->nat = backend->kind == BACKEND_FABRIC ? backend->source : vif->metadata_address;
	flow->ifindex = backend->ifindex;
	flow->service = service->id;
	flow->backend_port = backend->port;
	copy_mac(flow->guest_mac, frame->head.eth.h_source);
	copy_mac(flow->service_mac, frame->head.eth.h_dest);
	flow->kind = backend->kind;
	flow->response_hop_limit = service->response_hop_limit;
	if (former && leads_the_same_way(former, flow) && !former->ended) {
		add_counts(key, former);
		report_flow(EVENT_FLOW_CLOSED, key, former);
		reopen(former, flow);
		count_opened(service->id);
		report_flow(EVENT_FLOW_OPENED, key, former);
		return 0;
	}
	if (former)
		end_flow(shard, key, former);
	*reverse_key = reverse_key_of(key, flow);

	if (!count_flow_on(settings, key->vif))
		return REASON_LIMIT;
	reason = claim_port(settings, key, reverse_key);
	if (!reason) {
		flow->nat_port = reverse_key->nat_port;
		if (!bpf_map_update_elem(shard, key, flow, BPF_NOEXIST)) {
			count_opened(service->id);
			report_flow(EVENT_FLOW_OPENED, key, flow);
			return 0;
		}
		/* The map is full, or another CPU opened this very flow just now: then its entry is there to be found. */
		bpf_map_delete_elem(&reverse, reverse_key);
		reason = REASON_LIMIT;
	}
	count_flow_off(key->vif);
	return reason;
}

/*
 * A flow for a frame of the host to a metadata address. In the guest's view it comes from a service address, from the host's own
 * source port where that is free; `reverse_key` is the frame's own. 0, or the reason why there is none.
 */
static __noinline enum reason open_flow_to_guest(struct scratch *scratch)
{
	struct flow_key *key = &scratch->key;
	struct reverse_key *reverse_key = &scratch->reverse_key;
	struct settings *settings = get_settings();
	struct vif *vif = bpf_map_lookup_elem(&vifs, &key->vif);
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &key->vif);
	struct flow *flow = new_flow(scratch, FLOW_BACKEND);
	__u32 offset = bpf_get_prandom_u32();
	void *shard;
	int error; /* as in claim_port */

	if (!settings || !vif || !state)
		return REASON_NO_FLOW;
	key->guest = is_no_address(&vif->guest) ? state->guest : vif->guest;
	key->service = settings->host_service_address;
	copy_mac(flow->guest_mac, is_no_mac(vif->guest_mac) ? state->guest_mac : vif->guest_mac);
	if (is_no_address(&key->guest) || is_no_address(&key->service) || is_no_mac(flow->guest_mac))
		return REASON_NO_FLOW;
	copy_mac(flow->service_mac, settings->gateway_mac);
	flow->backend = from_ipv4(scratch->frame.head.ip.saddr);
	flow->backend_port = reverse_key->backend_port;
	flow->nat = reverse_key->nat;
	flow->nat_port = reverse_key->nat_port;
	flow->kind = BACKEND_HOST_LOCAL;
	flow->response_hop_limit = IP_DEFAULT_TTL;

	if (!count_flow_on(settings, key->vif))
		return REASON_LIMIT;
	for (int attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
		if (attempt)
			key->service_port = bpf_htons(HOST_LOCAL_PORT_MIN + (offset + attempt) % (65536 - HOST_LOCAL_PORT_MIN));
		/* An echo's identifier stays: it is not a port that could be changed. */
		if (attempt && key->protocol == IPPROTO_ICMP)
			break;
		if (!key->service_port && key->protocol != IPPROTO_ICMP)
			continue;
		shard = flows_with(settings, key);
		error = shard ? bpf_map_update_elem(shard, key, flow, BPF_NOEXIST) : -EBUSY;
		if (error == -EEXIST)
			continue;
		if (!error && !bpf_map_update_elem(&reverse, reverse_key, key, BPF_NOEXIST)) {
			report_flow(EVENT_FLOW_OPENED, key, flow);
			return 0;
		}
		if (!error)
			bpf_map_delete_elem(shard, key);
		count_flow_off(key->vif);
		return REASON_LIMIT;
	}
	count_flow_off(key->vif);
	return REASON_NO_PORT;
}

/*
 * The state of a TCP connection, as far as its flow must know it. Sequence numbers are not looked at: so a SYN alone, though it
 * be answered, keeps a flow for no longer than the opening takes, and a RST is believed only as long as nothing else comes.
 */
static __always_inline void follow_tcp(struct flow *flow, __u8 flags, __u8 from)
{
	bool finished;

	if (flow->state == FLOW_OPENING && flow->answered && from == flow->opener && flags & TCP_ACK)
		flow->state = FLOW_ESTABLISHED;
	if (flags & TCP_FIN)
		flow->fins |= from;
	finished = flow->fins == (FLOW_GUEST | FLOW_BACKEND);
	if (flags & TCP_RST || finished)
		flow->state = FLOW_CLOSING;
	else if (flow->state == FLOW_CLOSING && !(flags & TCP_SYN))
		flow->state = flow->answered ? FLOW_ESTABLISHED : FLOW_OPENING;
}

/* Follows the state of the flow with scratch->key with a frame that belongs to it. `from`: who sent it. */
static __always_inline void follow_flow(const struct __sk_buff *skb, const struct scratch *scratch, struct flow *flow, __u8 from)
{
	__u64 now = scratch->now;

	/* What is as it was is not written: see struct flow. */
	if (flow->last_seen != now)
		flow->last_seen = now;
	if (from == FLOW_GUEST) {
		__sync_fetch_and_add(&flow->frames_out, 1);
		__sync_fetch_and_add(&flow->bytes_out, skb->len);
	} else {
		__sync_fetch_and_add(&flow->frames_in, 1);
		__sync_fetch_and_add(&flow->bytes_in, skb->len);
	}
	if (from != flow->opener && !flow->answered)
		flow->answered = 1;
	if (scratch->key.protocol == IPPROTO_TCP)
		follow_tcp(flow, scratch->frame.l4.tcp_flags, from);
	else if (flow->answered && flow->state != FLOW_ESTABLISHED)
		flow->state = FLOW_ESTABLISHED;
}

/*
 * Takes a flow of another version's maps over, or, where it has been taken over before, what has become of it since. `scratch` has its key
 * and itself. Of two flows of the same ends the one that was opened last goes on. False where that is not this one, where there is no room, its
 * vif is gone, or its port has another owner now. Not limited: it was let in before.
 */
static __always_inline bool carry_flow(struct scratch *scratch)
{
	struct flow_key *key = &scratch->key;
	struct flow *carried = &scratch->flow, *flow;
	struct settings *settings = get_settings();
	__u32 zero = 0, *total = bpf_map_lookup_elem(&flow_total, &zero);
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &key->vif);
	void *shard = settings ? flows_with(settings, key) : NULL;

	if (!shard || !state || !total)
		return false;
	flow = bpf_map_lookup_elem(shard, key);
	if (flow && flow->opened > carried->opened)
		return false;
	if (flow && flow->opened == carried->opened) {
		flow->fins |= carried->fins;
		if (carried->state > flow->state)
			flow->state = carried->state;
		if (carried->last_seen > flow->last_seen)
			flow->last_seen = carried->last_seen;
		return true;
	}
	if (flow)
		end_flow(shard, key, flow);
	carried->ended = 0;
	/* Of flows that the host opened, earlier versions did not note what their vif has: better two seconds are missing than that all is there twice. */
	if (!carried->service) {
		carried->added_frames_out = carried->frames_out;
		carried->added_bytes_out = carried->bytes_out;
		carried->added_frames_in = carried->frames_in;
		carried->added_bytes_in = carried->bytes_in;
	}
	scratch->reverse_key = reverse_key_of(key, carried);
	if (bpf_map_update_elem(&reverse, &scratch->reverse_key, key, BPF_NOEXIST))
		return false;
	if (bpf_map_update_elem(shard, key, carried, BPF_NOEXIST)) {
		bpf_map_delete_elem(&reverse, &scratch->reverse_key);
		return false;
	}
	__sync_fetch_and_add(&state->flows, 1);
	__sync_fetch_and_add(total, 1);
	/* So that what it carries from now on is counted: a version without these counters made none when it opened. */
	if (carried->service)
		counters_of_service(carried->service);
	return true;
}

/* What the agent looks for in a shard: the flows whose fields (enum flow_field, or'ed) are a key of flow_filters. */
struct flow_search {
	__u32 fields;
	__u32 found;
};

static __always_inline bool is_wanted(const struct flow_search *search, const struct flow_key *key, const struct flow *flow)
{
	struct flow_filter filter = {};
	__u32 *found;

	if (search->fields & FLOW_FIELD_VIF)
		filter.vif = key->vif;
	if (search->fields & FLOW_FIELD_SERVICE)
		filter.service = flow->service;
	if (search->fields & FLOW_FIELD_IFINDEX)
		filter.ifindex = flow->ifindex;
	if (search->fields & FLOW_FIELD_BACKEND) {
		filter.backend = flow->backend;
		filter.backend_port = flow->backend_port;
	}
	if (search->fields & FLOW_FIELD_ADDRESS)
		filter.address = key->service;
	found = bpf_map_lookup_elem(&flow_filters, &filter);
	if (found)
		__sync_fetch_and_add(found, 1);
	return found;
}

static long end_flow_if_wanted(void *shard, struct flow_key *key, struct flow *flow, struct flow_search *search)
{
	struct flow_key own = *key;

	if (!is_wanted(search, key, flow))
		return 0;
	end_flow(shard, &own, flow);
	search->found++;
	return 0;
}

static long add_counts_of_flow(void *shard, struct flow_key *key, struct flow *flow, void *nothing)
{
	struct flow_key own = *key;

	add_counts(&own, flow);
	return 0;
}

static long count_flow_if_wanted(void *shard, struct flow_key *key, struct flow *flow, struct flow_search *search)
{
	search->found += is_wanted(search, key, flow);
	return 0;
}

/* Reads by which fields to look (cb[1]), and in which shard (cb[0]), from the agent's test run; NULL where there is no such shard. */
static __always_inline void *read_search(struct __sk_buff *skb, struct flow_search *search)
{
	__u32 shard = skb->cb[0];

	search->fields = skb->cb[1];
	return bpf_map_lookup_elem(&flows, &shard);
}

#endif
