import type { Logger } from "pino";
import type { Datapath, DatapathEvent } from "../datapath/types.ts";
import { IP_PROTOCOL } from "../packet/ipv4.ts";
import { timeOfDay } from "./clock.ts";
import type { AgentEvent } from "./event.ts";

/** What the datapath reports, for the log and for clients. */
export interface Events {
  /** The last events, the oldest first, at most `MAX_RECENT`; those of flows are not kept. */
  recent(): readonly AgentEvent[];
  /** Calls back for every event from now on, those of flows only where asked for, until the returned function is called. */
  subscribe(listener: (event: AgentEvent) => void, options: { flows: boolean }): () => void;
  /** How many events were lost since the datapath was made. */
  lost(): bigint;
  /** How many there were since the agent's start, by kind; those of flows are not counted. */
  counts(): ReadonlyMap<CountedKind, number>;
  /** Stops reading. */
  close(): void;
}

/** The kinds of events that are logged, kept and counted: all but those of flows, which are reported only while somebody listens. */
export type CountedKind = keyof typeof LOG_MESSAGES;

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

const LOG_MESSAGES = {
  conflict: "a guest claims a service address",
  spoofed: "a guest uses a source address that is not its own",
  limit: "a new flow was refused: over a limit",
  lost: "events were lost: they came too fast",
} as const;

const COUNTED_KINDS = Object.keys(LOG_MESSAGES) as CountedKind[];

/** Starts to read the datapath's events. */
export function createEvents({ datapath, nameOf, log }: EventsOptions): Events {
  const recent: AgentEvent[] = [];
  const listeners = new Map<(event: AgentEvent) => void, { flows: boolean }>();
  /** By kind and interface: when it was logged, and how many were not logged since. */
  const logged = new Map<string, { at: number; suppressed: number; last: AgentEvent }>();
  const counts = new Map(COUNTED_KINDS.map((kind) => [kind, 0]));
  let lost = datapath.eventsLost();

  function report(event: AgentEvent): void {
    const { kind } = event;
    const isFlow = kind === "flow-opened" || kind === "flow-closed";
    if (!isFlow) {
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
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
    counts: () => counts,
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

function protocolName(protocol: number): string {
  return Object.entries(IP_PROTOCOL).find(([, number]) => number === protocol)?.[0] ?? String(protocol);
}
