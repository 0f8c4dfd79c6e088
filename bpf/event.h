/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Events to the agent: never waited for, lost where there is no room, and the loss counted. */
#ifndef ONLINK_EVENT_H
#define ONLINK_EVENT_H

#include "limit.h"
#include "maps.h"

/* What a guest provokes is reported ten times a second and vif, with as much burst. */
#define EVENT_INTERVAL_NS (NS_PER_S / 10)
#define EVENT_BURST 10

static __always_inline void count_event_lost(void)
{
	__u32 zero = 0;
	__u64 *lost = bpf_map_lookup_elem(&events_lost, &zero);

	if (lost)
		(*lost)++;
}

/* Not inlined, so that the type is in the BTF. */
static __noinline void begin_event(struct event *event, __u8 kind, __u32 vif)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->kind = kind;
	event->vif = vif;
}

/*
 * An event to be filled in and submitted; NULL where it is lost. Inlined, so that clang makes one comparison with NULL of this one and
 * the caller's: Linux 6.1 holds a second one to be open, and on its NULL side the event to be leaked.
 */
static __always_inline struct event *reserve_event(__u8 kind, __u32 vif)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count_event_lost();
		return NULL;
	}
	begin_event(event, kind, vif);
	return event;
}

/* The same for what a guest provokes: at most so many for each vif. */
static __always_inline struct event *reserve_limited_event(__u8 kind, __u32 vif)
{
	struct vif_state *state = bpf_map_lookup_elem(&vif_states, &vif);

	if (!state || !allow(&state->event_tat, bpf_ktime_get_ns(), EVENT_INTERVAL_NS, EVENT_BURST)) {
		count_event_lost();
		return NULL;
	}
	return reserve_event(kind, vif);
}

#endif
