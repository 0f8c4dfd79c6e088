/** An agent in memory, for the tests of this folder. */
import { EventEmitter, once } from "node:events";
import type { AgentEvent } from "../agent/event.ts";
import type { FlowStatus } from "../agent/flows.ts";
import type { AgentStatus, InterfaceStatus } from "../agent/status.ts";
import type { GuestMetadata } from "../config/guest-metadata.ts";
import type { InterfaceRule } from "../config/schema.ts";
import { REASONS } from "../datapath/layout.ts";
import type { Counters } from "../datapath/types.ts";
import type { MetadataStats } from "../metadata/stats.ts";
import type { ApiAgent } from "./server.ts";

/** Counters that are all zero but those given. */
export function fakeCounters(counters: Partial<Counters> = {}): Counters {
  const zeros = Object.keys(REASONS).map((reason) => [reason, { frames: 0n, bytes: 0n }]);
  return { ...Object.fromEntries(zeros), ...counters };
}

/** A status with each kind of service, backend, interface and fabric interface. */
export const STATUS: AgentStatus = {
  version: "1.2.3",
  pid: 42,
  since: "2026-01-02T03:04:05.000Z",
  configuration: {
    file: "/etc/onlink/onlink.yaml",
    loaded: "2026-01-02T03:04:05.000Z",
    errors: ["onlink.yaml:1:1: empty"],
  },
  attach: "tcx",
  device: { name: "onlink0", address: "169.254.64.1" },
  draining: [{ address: "169.254.169.123", port: 123, protocol: "udp", ends: "2026-01-02T03:05:05.000Z" }],
  problems: ["interface tap1: it is not Ethernet"],
  services: [
    {
      name: "metadata",
      address: "169.254.169.254",
      port: 80,
      protocols: ["tcp"],
      backends: [{ address: "127.0.0.1", port: 8775, state: "in use", kind: "host-local" }],
      traffic: { flows: 7n, refused: 0n, framesOut: 40n, bytesOut: 4000n, framesIn: 30n, bytesIn: 30_000n },
    },
    {
      name: "dns",
      address: "169.254.169.253",
      port: 53,
      protocols: ["udp", "tcp"],
      backends: [
        {
          address: "192.0.2.1",
          port: 53,
          state: "in use",
          kind: "fabric",
          interface: "eth0",
          source: "192.0.2.9",
          health: { state: "healthy", since: "2026-01-02T03:04:05.000Z" },
        },
        { address: "198.51.100.1", port: 53, state: "out of use", reason: "no route to it" },
      ],
      traffic: { flows: 2n, refused: 3n, framesOut: 2n, bytesOut: 140n, framesIn: 2n, bytesIn: 300n },
    },
  ],
  interfaces: [
    { name: "eth0", state: "fabric", ifindex: 2 },
    {
      name: "tap0",
      state: "attached",
      ifindex: 5,
      metadataAddress: "169.254.64.2",
      flows: 3,
      counters: fakeCounters({ forwarded: { frames: 5n, bytes: 500n } }),
    },
    { name: "tap1", state: "failed", ifindex: 6, reason: "it is not Ethernet" },
    { name: "tap2", state: "disabled", ifindex: 7 },
    { name: "veth-web", state: "waiting" },
  ],
  fabric: [
    { name: "eth0", state: "attached", ifindex: 2 },
    { name: "eth1", state: "failed", ifindex: 3, reason: "it is not Ethernet" },
    { name: "eth7", state: "waiting" },
  ],
  flows: { now: 3, limit: 16384, limitPerInterface: 1024 },
  counters: fakeCounters({ forwarded: { frames: 7n, bytes: 2n ** 60n } }),
  eventsLost: 12n,
};

/** A metadata service that has answered one guest. */
const METADATA: MetadataStats = {
  mode: "proxy",
  listening: { address: "169.254.64.1", port: 9697, state: "listening" },
  connections: 1,
  answers: [
    { status: 200, count: 5 },
    { status: 502, count: 1 },
  ],
  refusals: {
    notAGuest: 0,
    noInstance: 0,
    malformed: 0,
    tooManyConnections: 0,
    tooManyRequests: 2,
    tooManyInFlight: 0,
  },
  latency: { buckets: [{ le: 0.001, count: 5 }], sum: 0.25, count: 6 },
  guests: [
    {
      interface: "tap0",
      metadataAddress: "169.254.64.2",
      connections: 1,
      inFlight: 0,
      requests: 6,
      answers: [
        { status: 200, count: 5 },
        { status: 502, count: 1 },
      ],
      last: { status: 502, at: "2026-01-02T03:04:05.678Z" },
    },
  ],
  upstreams: [
    { upstream: "10.0.0.5:8775", state: "up", connections: { busy: 0, idle: 1 }, waiting: 0, failures: 0 },
  ],
};

/** A flow of the fake agent. */
export const FLOW: FlowStatus = {
  interface: "tap0",
  protocol: "tcp",
  guest: "10.0.1.3",
  guestPort: 40000,
  service: "169.254.169.254",
  servicePort: 80,
  serviceName: "metadata",
  kind: "host-local",
  backend: "127.0.0.1",
  backendPort: 8775,
  source: "169.254.64.2",
  sourcePort: 40000,
  state: "established",
  opener: "guest",
  age: 312.5,
  idle: 0.004,
  framesOut: 6n,
  bytesOut: 1536n,
  framesIn: 2n ** 60n,
  bytesIn: 2n ** 60n,
};

/** Those of the status, and registrations in memory, of which nothing is checked. */
function fakeInterfaces(): ApiAgent["interfaces"] {
  const registered = new Map<string, InterfaceRule>();
  return {
    list: () => STATUS.interfaces,
    get: (name) =>
      STATUS.interfaces.find((one) => one.name === name) ??
      (registered.has(name) ? { name, state: "waiting" } : undefined),
    registration: (name) => registered.get(name),
    register: (name, content) => void registered.set(name, { ...(content as object), name }),
    unregister: (name) => void registered.delete(name),
    guestOf: () => undefined,
  };
}

/** One document, of which nothing is checked. */
function fakeGuestMetadata(): ApiAgent["guestMetadata"] {
  const documents = new Map<string, GuestMetadata>([["tap0", { hostname: "web" }]]);
  return {
    get: (key) => documents.get(key),
    set: (key, content) => void documents.set(key, content as GuestMetadata),
    patch: (key, patch) => void documents.set(key, { ...documents.get(key), ...(patch as GuestMetadata) }),
    remove: (key) => documents.delete(key),
  };
}

/** Gives a status as an agent does: without flows and counters of vifs that are not to be counted. */
export function statusOf(status: AgentStatus): ApiAgent["status"] {
  return ({ counted = () => true } = {}) => ({
    ...status,
    interfaces: status.interfaces.map((one): InterfaceStatus => {
      if (one.state === "attached" && counted(one.name)) return one;
      const { flows: _, counters: __, ...others } = one;
      return others;
    }),
  });
}

/** An agent that is well, with this status, and a way to make events. */
export interface FakeAgent extends ApiAgent {
  listeners: Map<(event: AgentEvent) => void, { flows: boolean }>;
  /** Settles when the number of listeners has changed. */
  change(): Promise<unknown>;
  emit(event: AgentEvent): void;
}

/** See `FakeAgent`; other answers by `changes`. */
export function fakeAgent(changes: Partial<ApiAgent> & { recent?: readonly AgentEvent[] } = {}): FakeAgent {
  const listeners: FakeAgent["listeners"] = new Map();
  const changed = new EventEmitter();
  const { recent = [], ...others } = changes;
  return {
    version: STATUS.version,
    status: statusOf(STATUS),
    addCounts: () => {},
    services: () => STATUS.services,
    flows: async () => ({ flows: [FLOW] }),
    interfaces: fakeInterfaces(),
    metadata: () => METADATA,
    lookups: () => ({ done: 9, failed: 4 }),
    guestMetadata: fakeGuestMetadata(),
    health: () => [],
    readiness: () => [],
    why: ({ guest, address = "169.254.169.254", port }) => ({
      interface: guest,
      addresses: ["10.0.1.3"],
      to: { address, ...(port !== undefined && { port }) },
      links: [
        { link: "vif", state: "ok", says: `${guest} is attached` },
        {
          link: "arp",
          state: "broken",
          says: "the guest never asked",
          mend: "look at its network",
          age: 3.5,
        },
      ],
    }),
    events: {
      recent: () => recent,
      counts: () => new Map([["conflict", 2] as const, ["spoofed", 0] as const]),
      subscribe(listener, options) {
        listeners.set(listener, options);
        changed.emit("change");
        return () => {
          if (listeners.delete(listener)) changed.emit("change");
        };
      },
    },
    ...others,
    listeners,
    change: () => once(changed, "change"),
    emit(event) {
      for (const listener of listeners.keys()) listener(event);
    },
  };
}
