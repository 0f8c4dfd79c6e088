/**
 * The structs of `bpf/onlink.h`, field by field. `layout.kernel.test.ts` fails when the compiled object's BTF says anything else.
 */
import { be16, ipAddress, mac, named, padding, struct, u8, u16, u32, u64 } from "./struct.ts";
import type { Reason } from "./types.ts";

/** `enum reason`; a number is never used again. */
export const REASONS: Record<Reason, number> = {
  "arp-reply": 1,
  "arp-probe-reply": 2,
  "arp-conflict": 3,
  "arp-gateway": 4,
  "arp-other": 5,
  forwarded: 7,
  "echo-reply": 8,
  "unknown-port": 9,
  "no-backend": 10,
  fragment: 11,
  "icmp-error": 12,
  spoofed: 13,
  limit: 14,
  malformed: 15,
  vlan: 16,
  "no-flow": 17,
  "no-port": 18,
  returned: 19,
};

/** `REASON_COUNT`. */
export const REASON_COUNT = 32;

/** `FLOW_SHARDS`. */
export const FLOW_SHARDS = 32;

const serviceProtocol = named(u8, { tcp: 6, udp: 17 });
const protocol = named(u8, { icmp: 1, tcp: 6, udp: 17 });
const whenNoBackend = named(u8, { reject: 1, drop: 2, pass: 3 });
const flowEnd = named(u8, { guest: 1, backend: 2 });
const backendKind = named(u8, { "host-local": 1, fabric: 2 });
const flowState = named(u8, { opening: 1, established: 2, closing: 3 });

/** A bare `__u32`, such as an ifindex. */
export const u32Layout = struct("__u32", { value: u32 });

/** `struct ip_address` as a key or value of its own. */
export const ipAddressLayout = struct("ip_address", { words: ipAddress });

export const settingsLayout = struct("settings", {
  host_service_address: ipAddress,
  host_device: u32,
  host_mac: mac,
  gateway_mac: mac,
  fabric_port_min: u16,
  fabric_port_max: u16,
  max_flows: u32,
  max_flows_per_vif: u32,
  timeout_tcp_syn: u32,
  timeout_tcp_established: u32,
  timeout_tcp_closing: u32,
  timeout_udp: u32,
  timeout_udp_answered: u32,
  timeout_icmp: u32,
  flow_events: u32,
  other_addresses: u32,
  carrying_flows: u32,
  hash_seed: u32,
});

export const serviceAddressLayout = struct("service_address", { services: u32 });

export const serviceKeyLayout = struct("service_key", {
  address: ipAddress,
  port: be16,
  protocol: serviceProtocol,
  pad: padding(1),
});

export const serviceLayout = struct("service", {
  id: u32,
  backends: u16,
  response_hop_limit: u8,
  when_no_backend: whenNoBackend,
  drain: u32,
  pad: padding(4, 4),
  drain_ends: u64,
});

export const backendKeyLayout = struct("backend_key", { service: u32, slot: u32 });

export const backendLayout = struct("backend", {
  address: ipAddress,
  source: ipAddress,
  ifindex: u32,
  port: be16,
  kind: backendKind,
  pad: padding(1),
});

/** Flags of `struct vif`. */
export const VIF_FLAGS = { antiSpoof: 1, hasAddresses: 2, rejectUnknownPort: 4, arpBroadcast: 8 };

export const vifLayout = struct("vif", {
  metadata_address: ipAddress,
  gateway: ipAddress,
  guest: ipAddress,
  guest_mac: mac,
  flags: u8,
  pad: padding(1),
});

export const vifAddressLayout = struct("vif_address", { address: ipAddress, vif: u32 });

export const vifStateLayout = struct("vif_state", {
  reject_tat: u64,
  event_tat: u64,
  guest: ipAddress,
  guest_mac: mac,
  pad: padding(2),
  flows: u32,
  pad2: padding(4, 4),
  asked: ipAddress,
  answered: ipAddress,
  sent_to: ipAddress,
  spoofed: ipAddress,
  asked_at: u64,
  answered_at: u64,
  sent_at: u64,
  spoofed_at: u64,
  sent_to_mac: mac,
  pad3: padding(2),
});

export const defenceKeyLayout = struct("defence_key", { address: ipAddress, vif: u32 });

/** `enum side`. */
export const SIDES = { vif: 1, host: 2, fabric: 3 };

/** `FRAGMENT_SLOTS_VIF`. */
export const FRAGMENT_SLOTS_VIF = 16;

export const fragmentKeyLayout = struct("fragment_key", {
  vif: u32,
  slot: u16,
  side: named(u8, SIDES),
  pad: padding(1),
});

export const fragmentLayout = struct("fragment", {
  source: ipAddress,
  destination: ipAddress,
  new_source: ipAddress,
  new_destination: ipAddress,
  seen: u64,
  ifindex: u32,
  vif: u32,
  reason: u16,
  identification: be16,
  protocol: u8,
  ttl: u8,
  new_destination_mac: mac,
  new_source_mac: mac,
  neighbour: u8,
  pad: padding(5),
});

export const counterLayout = struct("counter", { frames: u64, bytes: u64, last: u64 });

export const flowKeyLayout = struct("flow_key", {
  guest: ipAddress,
  service: ipAddress,
  vif: u32,
  guest_port: be16,
  service_port: be16,
  protocol,
  pad: padding(3),
});

export const reverseKeyLayout = struct("reverse_key", {
  backend: ipAddress,
  nat: ipAddress,
  backend_port: be16,
  nat_port: be16,
  protocol,
  kind: backendKind,
  pad: padding(2),
});

export const flowLayout = struct("flow", {
  last_seen: u64,
  guest_mac: mac,
  service_mac: mac,
  state: flowState,
  fins: u8,
  opener: flowEnd,
  answered: u8,
  opened: u64,
  added_frames_out: u64,
  added_bytes_out: u64,
  added_frames_in: u64,
  added_bytes_in: u64,
  ended: u32,
  pad: padding(84),
  frames_out: u64,
  bytes_out: u64,
  backend: ipAddress,
  nat: ipAddress,
  ifindex: u32,
  service: u32,
  backend_port: be16,
  nat_port: be16,
  kind: backendKind,
  pad2: padding(67),
  frames_in: u64,
  bytes_in: u64,
  response_hop_limit: u8,
  pad3: padding(7),
});

export const serviceCountersLayout = struct("service_counters", {
  flows: u64,
  refused: u64,
  frames_out: u64,
  bytes_out: u64,
  frames_in: u64,
  bytes_in: u64,
});

/** `enum flow_field`. */
export const FLOW_FIELDS = { vif: 1, service: 2, backend: 4, ifindex: 8, address: 16 };

export const flowFilterLayout = struct("flow_filter", {
  backend: ipAddress,
  address: ipAddress,
  vif: u32,
  service: u32,
  ifindex: u32,
  backend_port: be16,
  pad: padding(2),
});

export const eventLayout = struct("event", {
  time: u64,
  frames_out: u64,
  bytes_out: u64,
  frames_in: u64,
  bytes_in: u64,
  guest: ipAddress,
  service: ipAddress,
  backend: ipAddress,
  vif: u32,
  guest_port: be16,
  service_port: be16,
  backend_port: be16,
  mac,
  kind: named(u8, { conflict: 1, spoofed: 2, limit: 3, "flow-opened": 4, "flow-closed": 5 }),
  protocol: u8,
  pad: padding(6),
});

/** The structs that the layout test holds against BTF. */
export const SHARED_STRUCTS = [
  ipAddressLayout,
  settingsLayout,
  serviceAddressLayout,
  serviceKeyLayout,
  serviceLayout,
  backendKeyLayout,
  backendLayout,
  vifLayout,
  vifAddressLayout,
  vifStateLayout,
  defenceKeyLayout,
  fragmentKeyLayout,
  fragmentLayout,
  eventLayout,
  counterLayout,
  flowKeyLayout,
  reverseKeyLayout,
  flowLayout,
  serviceCountersLayout,
  flowFilterLayout,
] as const;
