import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendEntry, BackendKey, ServiceEntry, ServiceKey, WhenNoBackend } from "../datapath/types.ts";
import {
  type DesiredService,
  type Operation,
  plan,
  planChanges,
  type ServiceMaps,
  type ServiceTables,
} from "./plan.ts";

// Few addresses, ports and ids, so that the generated states meet often.
const address = fc.constantFrom("169.254.169.254", "169.254.169.253", "169.254.169.123");
const serviceKey: fc.Arbitrary<ServiceKey> = fc.record({
  address,
  port: fc.constantFrom(53, 80),
  protocol: fc.constantFrom("tcp", "udp"),
});
const backend: fc.Arbitrary<BackendEntry> = fc.oneof(
  fc.record({
    kind: fc.constant("host-local" as const),
    address: fc.constantFrom("127.0.0.1", "192.0.2.1"),
    port: fc.constantFrom(1, 2),
  }),
  fc.record({
    kind: fc.constant("fabric" as const),
    address: fc.constantFrom("192.0.2.1", "192.0.2.2"),
    port: fc.constantFrom(1, 2),
    source: fc.constantFrom("192.0.2.10", "192.0.2.11"),
    ifindex: fc.constantFrom(2, 3),
  }),
);
/** A time of the kernel's clock, and one when every drain has ended. */
const NOW = 1_000_000_000_000n;
const LATER = NOW + 3_600_000_000_000n;
const whenNoBackend = fc.constantFrom<WhenNoBackend[]>("reject", "drop", "pass");
const keyText = (key: ServiceKey) => `${key.address} ${key.port} ${key.protocol}`;
const desiredServices: fc.Arbitrary<DesiredService[]> = fc.uniqueArray(
  fc.record({
    key: serviceKey,
    responseHopLimit: fc.constantFrom(1, 64),
    whenNoBackend,
    drain: fc.constantFrom(0, 1, 30_000),
    backends: fc.array(backend, { maxLength: 4 }),
  }),
  { maxLength: 6, selector: (service) => keyText(service.key) },
);
/** Anything at all, also what no agent would leave behind: ids used twice, slots of nobody, counts that are wrong. */
const anyMaps: fc.Arbitrary<ServiceMaps> = fc.record({
  addresses: fc.uniqueArray(fc.tuple(address, fc.integer({ min: 0, max: 3 })), { selector: ([key]) => key }),
  services: fc.uniqueArray(
    fc.tuple(
      serviceKey,
      fc.record({
        id: fc.integer({ min: 0, max: 3 }),
        backends: fc.integer({ min: 0, max: 4 }),
        responseHopLimit: fc.constantFrom(1, 64),
        whenNoBackend,
        drain: fc.constantFrom(0, 1, 30_000),
        drainEnds: fc.constantFrom(0n, NOW - 1n, NOW, NOW + 1n),
      }),
    ),
    { selector: ([key]) => keyText(key) },
  ),
  backends: fc.uniqueArray(
    fc.tuple(
      fc.record({ service: fc.integer({ min: 0, max: 3 }), slot: fc.integer({ min: 0, max: 4 }) }),
      backend,
    ),
    { selector: ([key]) => `${key.service} ${key.slot}` },
  ),
});

/** The writes of an operation one by one. */
function writesOf(operation: Operation): Operation[] {
  if (operation.kind === "end-flows") return [operation];
  if ("keys" in operation) return operation.keys.map((key) => ({ ...operation, keys: [key] }) as Operation);
  return operation.entries.map((entry) => ({ ...operation, entries: [entry] }) as Operation);
}

/** The three maps in memory. */
function mapsFrom(maps: ServiceMaps) {
  const addresses = new Map(maps.addresses);
  const services = new Map<string, [ServiceKey, ServiceEntry]>(
    maps.services.map(([key, entry]) => [keyText(key), [key, entry]]),
  );
  const backends = new Map<string, [BackendKey, BackendEntry]>(
    maps.backends.map(([key, entry]) => [`${key.service} ${key.slot}`, [key, entry]]),
  );
  return {
    addresses,
    services,
    backends,
    /** As far as `planChanges` reads them. */
    tables: {
      services: { get: (key: ServiceKey) => services.get(keyText(key))?.[1] },
      backends: { get: ({ service, slot }: BackendKey) => backends.get(`${service} ${slot}`)?.[1] },
    } as ServiceTables,
    apply(operation: Operation) {
      switch (operation.kind) {
        case "set-backends":
          for (const [key, entry] of operation.entries)
            backends.set(`${key.service} ${key.slot}`, [key, entry]);
          break;
        case "delete-backends":
          for (const { service, slot } of operation.keys)
            expect(backends.delete(`${service} ${slot}`)).toBe(true);
          break;
        case "set-services":
          for (const [key, entry] of operation.entries) services.set(keyText(key), [key, entry]);
          break;
        case "end-flows":
          for (const id of operation.services)
            expect([...services.values()].map(([, entry]) => entry.id)).toContain(id);
          break;
        case "delete-services":
          for (const key of operation.keys) expect(services.delete(keyText(key))).toBe(true);
          break;
        case "set-addresses":
          for (const [address, count] of operation.entries) addresses.set(address, count);
          break;
        case "delete-addresses":
          for (const address of operation.keys) expect(addresses.delete(address)).toBe(true);
          break;
      }
    },
    snapshot(): ServiceMaps {
      return {
        addresses: [...addresses],
        services: [...services.values()],
        backends: [...backends.values()],
      };
    },
  };
}

/** What the maps say, in the terms of the configuration; also fails where they disagree with one another. */
function meaning(maps: ReturnType<typeof mapsFrom>) {
  const result = new Map<string, Omit<DesiredService, "key">>();
  const ids = new Set<number>();
  let slots = 0;
  const drained = new Set<string>();
  for (const [text, [, entry]] of maps.services) {
    expect(ids.has(entry.id), `id ${entry.id} used twice`).toBe(false);
    ids.add(entry.id);
    if (entry.drainEnds !== 0n) {
      drained.add(text);
      continue;
    }
    const backends = Array.from({ length: entry.backends }, (_, slot) => {
      const there = maps.backends.get(`${entry.id} ${slot}`);
      expect(there, `slot ${slot} of ${text}`).toBeDefined();
      return there![1];
    });
    slots += backends.length;
    const { responseHopLimit, whenNoBackend, drain } = entry;
    result.set(text, { responseHopLimit, whenNoBackend, drain, backends });
  }
  return { services: result, drained, slots };
}

const empty: ServiceMaps = { addresses: [], services: [], backends: [] };

describe("plan", () => {
  it("turns any state into the desired one, and then has nothing left to do", () => {
    fc.assert(
      fc.property(desiredServices, anyMaps, (desired, actual) => {
        const maps = mapsFrom(actual);
        for (const operation of plan(desired, actual, NOW)) maps.apply(operation);
        for (const operation of plan(desired, maps.snapshot(), LATER)) maps.apply(operation);

        const { services, drained, slots } = meaning(maps);
        expect(drained.size).toBe(0);
        expect(services).toEqual(new Map(desired.map(({ key, ...rest }) => [keyText(key), rest])));
        expect(maps.backends.size).toBe(slots);
        const perAddress = new Map<string, number>();
        for (const { key } of desired) perAddress.set(key.address, (perAddress.get(key.address) ?? 0) + 1);
        expect(maps.addresses).toEqual(perAddress);
        expect(plan(desired, maps.snapshot(), LATER)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it("keeps the datapath right after every single write", () => {
    fc.assert(
      fc.property(desiredServices, desiredServices, (before, after) => {
        const maps = mapsFrom(empty);
        for (const operation of plan(before, empty, NOW)) maps.apply(operation);
        const allowed = (text: string) =>
          [...before, ...after]
            .filter(({ key }) => keyText(key) === text)
            .flatMap(({ backends }) => backends);

        for (const operation of plan(after, maps.snapshot(), NOW).flatMap(writesOf)) {
          maps.apply(operation);
          const { services } = meaning(maps);
          for (const [text, { backends }] of services) {
            for (const entry of backends) expect(allowed(text)).toContainEqual(entry);
          }
          for (const name of maps.addresses.keys()) {
            expect([...maps.services.values()].some(([key]) => key.address === name)).toBe(true);
          }
          const staying = after.filter(({ key }) => before.some((old) => keyText(old.key) === keyText(key)));
          for (const { key } of staying) {
            expect(maps.services.has(keyText(key)), `${keyText(key)} must not go away in between`).toBe(true);
            expect(maps.addresses.has(key.address)).toBe(true);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("has room for what is desired, however far another plan came with its backends", () => {
    fc.assert(
      fc.property(
        desiredServices,
        desiredServices,
        desiredServices,
        fc.nat(30),
        (before, failed, after, done) => {
          const maps = mapsFrom(empty);
          plan(before, empty, NOW).forEach(maps.apply);
          const writes = plan(failed, maps.snapshot(), NOW).flatMap(writesOf);
          const filled = writes.findLastIndex(({ kind }) => kind === "set-backends") + 1;
          writes.slice(0, Math.min(done, filled)).forEach(maps.apply);
          const room = [...before, ...after].reduce((sum, { backends }) => sum + backends.length, 0);
          for (const operation of plan(after, maps.snapshot(), NOW).flatMap(writesOf)) {
            maps.apply(operation);
            meaning(maps);
            if (operation.kind === "set-backends") expect(maps.backends.size).toBeLessThanOrEqual(room);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("keeps the ids of the services that stay", () => {
    fc.assert(
      fc.property(desiredServices, desiredServices, (before, after) => {
        const maps = mapsFrom(empty);
        for (const operation of plan(before, empty, NOW)) maps.apply(operation);
        const old = new Map([...maps.services].map(([text, [, entry]]) => [text, entry.id]));
        for (const operation of plan(after, maps.snapshot(), NOW)) maps.apply(operation);
        for (const [text, [, entry]] of maps.services) {
          if (old.has(text)) expect(entry.id).toBe(old.get(text));
          else expect([...old.values()]).not.toContain(entry.id);
        }
      }),
    );
  });

  it("shrinks a service before it rewrites or deletes slots", () => {
    const key: ServiceKey = { address: "169.254.169.254", port: 80, protocol: "tcp" };
    const local = (port: number): BackendEntry => ({ kind: "host-local", address: "127.0.0.1", port });
    const maps = mapsFrom(empty);
    const rest = { responseHopLimit: 64, whenNoBackend: "drop" as const, drain: 0 };
    for (const operation of plan([{ key, ...rest, backends: [local(1), local(2)] }], empty, NOW)) {
      maps.apply(operation);
    }
    expect(plan([{ key, ...rest, backends: [local(2)] }], maps.snapshot(), NOW)).toEqual([
      { kind: "set-services", entries: [[key, { id: 1, backends: 1, ...rest, drainEnds: 0n }]] },
      { kind: "set-backends", entries: [[{ service: 1, slot: 0 }, local(2)]] },
      { kind: "delete-backends", keys: [{ service: 1, slot: 1 }] },
    ]);
  });

  it("changes some services like all of them", () => {
    fc.assert(
      fc.property(
        desiredServices,
        fc.array(fc.option(fc.array(backend, { maxLength: 4 })), { minLength: 6, maxLength: 6 }),
        (before, changes) => {
          const maps = mapsFrom(empty);
          plan(before, empty, NOW).forEach(maps.apply);
          const after = before.map((service, index) => ({
            ...service,
            backends: changes[index] ?? service.backends,
          }));
          const changed = after.filter((_, index) => changes[index] !== null);
          expect(planChanges(changed, maps.tables)).toEqual(plan(after, maps.snapshot(), NOW));
        },
      ),
    );
  });

  it("changes no services alone of which the maps lack one, or have it as removed", () => {
    const key: ServiceKey = { address: "169.254.169.254", port: 80, protocol: "tcp" };
    const other: ServiceKey = { ...key, port: 81 };
    const rest = { responseHopLimit: 64, whenNoBackend: "drop" as const, drain: 30_000 };
    const entry = { id: 1, backends: 0, ...rest };
    const both = [key, other].map((key) => ({ key, ...rest, backends: [] }));
    const changesOf = (services: ServiceMaps["services"]) =>
      planChanges(both, mapsFrom({ ...empty, services }).tables);
    expect(changesOf([[key, { ...entry, drainEnds: 0n }]])).toBeUndefined();
    const there = (drainEnds: bigint): ServiceMaps["services"] => [
      [key, { ...entry, drainEnds: 0n }],
      [other, { ...entry, id: 2, drainEnds }],
    ];
    expect(changesOf(there(1n))).toBeUndefined();
    expect(changesOf(there(0n))).toEqual([]);
  });

  describe("a service that is removed", () => {
    const key: ServiceKey = { address: "169.254.169.254", port: 80, protocol: "tcp" };
    const other: ServiceKey = { ...key, address: "169.254.169.253" };
    const serviceWith = (of: ServiceKey, drain: number): DesiredService => ({
      key: of,
      responseHopLimit: 64,
      whenNoBackend: "reject",
      drain,
      backends: [{ kind: "host-local", address: "127.0.0.1", port: 1 }],
    });
    function setUp(drain: number) {
      const maps = mapsFrom(empty);
      const reach = (desired: DesiredService[], at: bigint) => {
        const operations = plan(desired, maps.snapshot(), at);
        operations.forEach(maps.apply);
        return operations;
      };
      reach([serviceWith(key, drain)], NOW);
      return { maps, reach };
    }
    const ENDS = NOW + 5_000_000_000n;

    it("keeps its address and its id, without backends, until its drain ends", () => {
      const { maps, reach } = setUp(5000);
      expect(reach([serviceWith(other, 0)], NOW).map(({ kind }) => kind)).toEqual([
        "set-backends",
        "set-services",
        "set-addresses",
        "set-services",
      ]);
      expect(maps.services.get(keyText(key))?.[1]).toMatchObject({ id: 1, backends: 0, drainEnds: ENDS });
      expect(maps.services.get(keyText(other))?.[1]).toMatchObject({ id: 2, drainEnds: 0n });
      expect(reach([serviceWith(other, 0)], ENDS - 1n)).toEqual([]);
      expect(reach([serviceWith(other, 0)], ENDS)).toEqual([
        { kind: "end-flows", services: [1], addresses: [key.address] },
        { kind: "delete-addresses", keys: [key.address] },
        { kind: "delete-services", keys: [key] },
        { kind: "delete-backends", keys: [{ service: 1, slot: 0 }] },
      ]);
    });

    it("is as it was when it comes back before that", () => {
      const { maps, reach } = setUp(5000);
      const before = maps.snapshot();
      reach([], NOW);
      reach([serviceWith(key, 5000)], ENDS - 1n);
      expect(maps.snapshot()).toEqual(before);
    });

    it("is gone at once without a drain, marked first, so that no flow opens meanwhile", () => {
      const { reach } = setUp(0);
      expect(reach([], NOW).map(({ kind }) => kind)).toEqual([
        "set-services",
        "end-flows",
        "delete-addresses",
        "delete-services",
        "delete-backends",
      ]);
    });

    it("goes with others whose drains end, the flows of all of them found in one walk", () => {
      const { reach } = setUp(5000);
      reach([serviceWith(key, 5000), serviceWith(other, 5000)], NOW);
      reach([], NOW);
      expect(reach([], ENDS).filter(({ kind }) => kind === "end-flows")).toEqual([
        { kind: "end-flows", services: [1, 2], addresses: [key.address, other.address] },
      ]);
    });
  });
});
