import type { Logger } from "pino";
import type { Datapath, DatapathEvent } from "../datapath/types.ts";
import { IP_PROTOCOL } from "../packet/ipv4.ts";

/** Which flow: both ends as the guest sees them. `protocol`: tcp, udp, icmp, or a number as text. */
interface FlowEnds {
  protocol: string;
  guest: string;
  guestPort: number;
  service: string;
  /** ICMP: the identifier. */
  servicePort: number;
}

/** What happened, in the words of the configuration: the interface by its name, the time of day (ISO 8601, UTC). */
export type AgentEvent =
  /** A guest claims a service address for itself (row A3). */
  | { kind: "conflict"; time: string; interface: string; service: string; mac: string }
  /** A guest used a source address that is not its own (row I7). */
  | {
      kind: "spoofed";
      time: string;
      interface: string;
      guest: string;
      service: string;
      protocol: string;
      mac: string;
    }
  /** A new flow was refused (row I8). */
  | ({ kind: "limit"; time: string; interface: string } & FlowEnds)
  | ({
      kind: "flow-opened";
      time: string;
      interface: string;
      backend: string;
      backendPort: number;
    } & FlowEnds)
  /** Out: guest to backend. */
  | ({
      kind: "flow-closed";
      time: string;
      interface: string;
      backend: string;
      backendPort: number;
      framesOut: bigint;
      bytesOut: bigint;
      framesIn: bigint;
      bytesIn: bigint;
    } & FlowEnds)
  /** So many events were lost since the last one of these: they came too fast. */
  | { kind: "lost"; time: string; lost: bigint };

/** What the datapath reports, for the log and for clients. */
export interface Events {
  /** The last events, the oldest first, at most `MAX_RECENT`; those of flows are not kept. */
  recent(): readonly AgentEvent[];
  /** Calls back for every event from now on, those of flows only where asked for, until the returned function is called. */
  subscribe(listener: (event: AgentEvent) => void, options: { flows: boolean }): () => void;
  /** How many events were lost since the datapath was made. */
  lost(): bigint;
  /** Stops reading. */
  close(): void;
}

/** What `createEvents` works on. */
export interface EventsOptions {
  datapath: Pick<Datapath, "onEvent" | "eventsLost" | "settings" | "setSettings">;
  /** The name of the interface with an ifindex; undefined for one that is gone. */
  nameOf: (ifindex: number) => string | undefined;
  log: Logger;
}

/** How many events are kept for those who ask later. */
export const MAX_RECENT = 1000;

/** Least time between two lines of the log about the same kind of event on the same vif, and between looks at the losses, in ms. */
const LOG_INTERVAL = 1000;

const NS_PER_MS = 1_000_000n;

const LOG_MESSAGES = {
  conflict: "a guest claims a service address",
  spoofed: "a guest uses a source address that is not its own",
  limit: "a new flow was refused: over a limit",
  lost: "events were lost: they came too fast",
} as const;

/** Starts to read the datapath's events. */
export function createEvents({ datapath, nameOf, log }: EventsOptions): Events {
  const recent: AgentEvent[] = [];
  const listeners = new Map<(event: AgentEvent) => void, { flows: boolean }>();
  /** By kind and interface: when it was logged, and how many were not logged since. */
  const logged = new Map<string, { at: number; suppressed: number; last: AgentEvent }>();
  let lost = datapath.eventsLost();

  function report(event: AgentEvent): void {
    const isFlow = event.kind === "flow-opened" || event.kind === "flow-closed";
    if (!isFlow) {
      logNowAndThen(event);
      recent.push(event);
      if (recent.length > MAX_RECENT) recent.shift();
    }
    for (const [listener, { flows }] of listeners) if (flows || !isFlow) listener(event);
  }

  function logNowAndThen(event: AgentEvent): void {
    const key = event.kind === "lost" ? event.kind : `${event.kind} ${event.interface}`;
    const entry = logged.get(key);
    if (entry === undefined) {
      logged.set(key, { at: performance.now(), suppressed: 0, last: event });
      write(event, 0);
    } else {
      entry.suppressed += 1;
      entry.last = event;
    }
  }

  /** `alike`: how many others of its kind and interface the line stands for. */
  function write(event: AgentEvent, alike: number): void {
    // The line has its own time; pino writes no bigint.
    const { kind, time: _, ...about } = event;
    const fields = event.kind === "lost" ? { lost: Number(event.lost) } : about;
    log.warn({ ...fields, ...(alike > 0 && { alike }) }, LOG_MESSAGES[kind as keyof typeof LOG_MESSAGES]);
  }

  function tick(): void {
    const now = datapath.eventsLost();
    if (now > lost) report({ kind: "lost", time: new Date().toISOString(), lost: now - lost });
    lost = now;
    for (const [key, entry] of logged) {
      if (performance.now() - entry.at < LOG_INTERVAL) continue;
      if (entry.suppressed === 0) logged.delete(key);
      else {
        write(entry.last, entry.suppressed - 1);
        entry.at = performance.now();
        entry.suppressed = 0;
      }
    }
  }

  /** The datapath reports flows only while somebody listens, since there may be very many. */
  function updateFlowEvents(): void {
    const flowEvents = [...listeners.values()].some(({ flows }) => flows);
    const settings = datapath.settings();
    if (settings !== undefined && settings.flowEvents !== flowEvents)
      datapath.setSettings({ ...settings, flowEvents });
  }

  // An agent that was killed may have left it on.
  updateFlowEvents();
  const stopReading = datapath.onEvent((event) =>
    report(inWords(event, nameOf(event.vif) ?? `ifindex ${event.vif}`)),
  );
  const timer = setInterval(tick, LOG_INTERVAL);

  return {
    recent: () => recent,
    subscribe(listener, options) {
      listeners.set(listener, options);
      updateFlowEvents();
      return () => {
        if (listeners.delete(listener)) updateFlowEvents();
      };
    },
    lost: () => datapath.eventsLost(),
    close() {
      clearInterval(timer);
      // Clients may leave after this, when the datapath is closed.
      listeners.clear();
      updateFlowEvents();
      stopReading();
    },
  };
}

/** The datapath's event as clients get it. */
function inWords(event: DatapathEvent, name: string): AgentEvent {
  const { kind, guest, guestPort, service, servicePort, backend, backendPort, mac } = event;
  const common = { time: timeOfDay(event.time), interface: name };
  const ends = { protocol: protocolName(event.protocol), guest, guestPort, service, servicePort };
  switch (kind) {
    case "conflict":
      return { kind, ...common, service, mac };
    case "spoofed":
      return { kind, ...common, guest, service, protocol: ends.protocol, mac };
    case "limit":
      return { kind, ...common, ...ends };
    case "flow-opened":
      return { kind, ...common, ...ends, backend, backendPort };
    case "flow-closed": {
      const { framesOut, bytesOut, framesIn, bytesIn } = event;
      return { kind, ...common, ...ends, backend, backendPort, framesOut, bytesOut, framesIn, bytesIn };
    }
  }
}

/** A time of CLOCK_MONOTONIC (ns), which is also Node.js's own clock, as the time of day. */
function timeOfDay(monotonic: bigint): string {
  const ago = Number((process.hrtime.bigint() - monotonic) / NS_PER_MS);
  return new Date(Date.now() - ago).toISOString();
}

function protocolName(protocol: number): string {
  return Object.entries(IP_PROTOCOL).find(([, number]) => number === protocol)?.[0] ?? String(protocol);
}
