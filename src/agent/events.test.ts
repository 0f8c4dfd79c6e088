import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DatapathEvent, Settings } from "../datapath/types.ts";
import type { AgentEvent } from "./event.ts";
import { createEvents, MAX_RECENT } from "./events.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-02T03:04:05.000Z") });
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  let listener: ((event: DatapathEvent) => void) | undefined;
  let settings = { flowEvents: false, maxFlows: 7 } as Settings;
  const state = { lost: 5n };
  const lines: Array<Record<string, unknown>> = [];
  const events = createEvents({
    datapath: {
      onEvent(callback) {
        listener = callback;
        return () => {
          listener = undefined;
        };
      },
      eventsLost: () => state.lost,
      settings: () => settings,
      setSettings: (value) => {
        settings = value;
      },
    },
    nameOf: (ifindex) => (ifindex === 5 ? "tap0" : undefined),
    log: pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) }),
  });
  return {
    events,
    state,
    lines,
    settings: () => settings,
    isRead: () => listener !== undefined,
    emit: (event: Partial<DatapathEvent>) =>
      listener?.({ ...nothing, time: process.hrtime.bigint(), ...event }),
  };
}

const nothing: DatapathEvent = {
  kind: "conflict",
  time: 0n,
  vif: 5,
  guest: "10.0.0.3",
  guestPort: 0,
  service: "169.254.169.254",
  servicePort: 0,
  backend: "",
  backendPort: 0,
  mac: "02:00:00:00:00:01",
  protocol: 0,
  framesOut: 0n,
  bytesOut: 0n,
  framesIn: 0n,
  bytesIn: 0n,
};
const flow: Partial<DatapathEvent> = {
  kind: "flow-closed",
  protocol: 6,
  guestPort: 49152,
  servicePort: 80,
  backend: "127.0.0.1",
  backendPort: 8775,
  mac: "",
  framesOut: 6n,
  bytesOut: 500n,
  framesIn: 4n,
  bytesIn: 2n ** 60n,
};

describe("events", () => {
  it("come in words: interfaces by name, the time of day, and what the kind has use for", () => {
    const { events, emit } = setUp();
    emit({});
    emit({ kind: "spoofed", protocol: 17, vif: 9, time: process.hrtime.bigint() - 1_500_000_000n });
    emit({ kind: "limit", protocol: 47, guestPort: 1, servicePort: 2 });
    const time = "2026-01-02T03:04:05.000Z";
    const service = "169.254.169.254";
    const guest = "10.0.0.3";
    const mac = "02:00:00:00:00:01";
    expect(events.recent()).toEqual([
      { kind: "conflict", time, interface: "tap0", service, mac },
      {
        kind: "spoofed",
        time: "2026-01-02T03:04:03.500Z",
        interface: "ifindex 9",
        guest,
        service,
        protocol: "udp",
        mac,
      },
      {
        kind: "limit",
        time,
        interface: "tap0",
        protocol: "47",
        guest,
        guestPort: 1,
        service,
        servicePort: 2,
      },
    ]);
  });

  it("of flows are made and sent only while a client asks for them, and never kept or logged", () => {
    const { events, emit, settings, lines } = setUp();
    const plain: AgentEvent[] = [];
    const all: AgentEvent[] = [];
    const unsubscribe = events.subscribe((event) => plain.push(event), { flows: false });
    expect(settings().flowEvents).toBe(false);
    const leave = events.subscribe((event) => all.push(event), { flows: true });
    const leaveToo = events.subscribe(() => {}, { flows: true });
    expect(settings()).toEqual({ flowEvents: true, maxFlows: 7 });

    emit({ ...flow, kind: "flow-opened" });
    emit(flow);
    emit({});
    expect(all.map(({ kind }) => kind)).toEqual(["flow-opened", "flow-closed", "conflict"]);
    expect(all[1]).toEqual({
      kind: "flow-closed",
      time: "2026-01-02T03:04:05.000Z",
      interface: "tap0",
      protocol: "tcp",
      guest: "10.0.0.3",
      guestPort: 49152,
      service: "169.254.169.254",
      servicePort: 80,
      backend: "127.0.0.1",
      backendPort: 8775,
      framesOut: 6n,
      bytesOut: 500n,
      framesIn: 4n,
      bytesIn: 2n ** 60n,
    });
    expect(plain.map(({ kind }) => kind)).toEqual(["conflict"]);
    expect(events.recent().map(({ kind }) => kind)).toEqual(["conflict"]);
    expect(lines.length).toBe(1);

    leave();
    leave();
    expect(settings().flowEvents).toBe(true);
    leaveToo();
    expect(settings().flowEvents).toBe(false);
    unsubscribe();
    emit({});
    expect(plain.length).toBe(1);
  });

  it("are logged once a second for each kind and interface, with how many more there were", () => {
    const { emit, lines } = setUp();
    for (let i = 0; i < 4; i++) emit({ mac: `02:00:00:00:00:0${i}` });
    emit({ kind: "spoofed", guest: "10.9.9.9" });
    emit({ vif: 9 });
    expect(lines.map(({ msg, interface: name, mac, alike }) => [msg, name, mac, alike])).toEqual([
      ["a guest claims a service address", "tap0", "02:00:00:00:00:00", undefined],
      ["a guest uses a source address that is not its own", "tap0", "02:00:00:00:00:01", undefined],
      ["a guest claims a service address", "ifindex 9", "02:00:00:00:00:01", undefined],
    ]);
    lines.length = 0;
    vi.advanceTimersByTime(1000);
    expect(lines).toEqual([
      {
        level: 40,
        interface: "tap0",
        service: "169.254.169.254",
        mac: "02:00:00:00:00:03",
        alike: 2,
        msg: "a guest claims a service address",
      },
    ]);
    emit({});
    expect(lines.length).toBe(1);
    vi.advanceTimersByTime(1000);
    expect(lines.length).toBe(2);
    vi.advanceTimersByTime(1000);
    expect(lines.length).toBe(2);
    vi.advanceTimersByTime(500);
    emit({});
    emit({});
    expect(lines.length).toBe(3);
    vi.advanceTimersByTime(999);
    expect(lines.length).toBe(3);
    vi.advanceTimersByTime(501);
    expect(lines.length).toBe(4);
  });

  it("tell of the events that were lost, and go on doing so", () => {
    const { events, state, lines } = setUp();
    const seen: AgentEvent[] = [];
    events.subscribe((event) => seen.push(event), { flows: false });
    vi.advanceTimersByTime(1000);
    expect(seen).toEqual([]);
    state.lost = 17n;
    vi.advanceTimersByTime(1000);
    state.lost = 18n;
    vi.advanceTimersByTime(1000);
    expect(seen.map((event) => event.kind === "lost" && event.lost)).toEqual([12n, 1n]);
    expect(events.recent()).toEqual(seen);
    expect(lines[0]).toMatchObject({ lost: 12, msg: "events were lost: they came too fast" });
    expect(events.lost()).toBe(18n);
  });

  it("are kept up to a bound, the newest", () => {
    const { events, emit } = setUp();
    for (let i = 0; i < MAX_RECENT + 5; i++) emit({ service: `10.0.${i >> 8}.${i & 255}` });
    expect(events.recent().length).toBe(MAX_RECENT);
    expect(events.recent()[0]).toMatchObject({ service: "10.0.0.5" });
  });

  it("are no longer read, nor flows reported, after the end", () => {
    const { events, emit, state, isRead, lines, settings } = setUp();
    const leave = events.subscribe(() => {}, { flows: true });
    events.close();
    expect(isRead()).toBe(false);
    const left = settings();
    expect(left.flowEvents).toBe(false);
    leave();
    expect(settings()).toBe(left);
    state.lost = 99n;
    emit({});
    vi.advanceTimersByTime(5000);
    expect(lines).toEqual([]);
  });
});
