import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BackendEntry, BackendKey, ServiceEntry, ServiceKey, WhenNoBackend } from "../datapath/types.ts";
import { fakeDatapath } from "./fakes.ts";
import {
  apply,
  type DesiredService,
  type Operation,
  plan,
  planChange,
  readServiceMaps,
  type ServiceMaps,
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
    apply(operation: Operation) {
      switch (operation.kind) {
        case "set-backend":
          backends.set(`${operation.key.service} ${operation.key.slot}`, [operation.key, operation.entry]);
          break;
        case "delete-backend":
          expect(backends.delete(`${operation.key.service} ${operation.key.slot}`)).toBe(true);
          break;
        case "set-service":
          services.set(keyText(operation.key), [operation.key, operation.entry]);
          break;
        case "end-flows":
          for (const id of operation.services)
            expect([...services.values()].map(([, entry]) => entry.id)).toContain(id);
          break;
        case "delete-service":
          expect(services.delete(keyText(operation.key))).toBe(true);
          break;
        case "set-address":
          addresses.set(operation.address, operation.services);
          break;
        case "delete-address":
          expect(addresses.delete(operation.address)).toBe(true);
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

        for (const operation of plan(after, maps.snapshot(), NOW)) {
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
      { kind: "set-service", key, entry: { id: 1, backends: 1, ...rest, drainEnds: 0n } },
      { kind: "set-backend", key: { service: 1, slot: 0 }, entry: local(2) },
      { kind: "delete-backend", key: { service: 1, slot: 1 } },
    ]);
  });

  it("changes one service like all of them", () => {
    fc.assert(
      fc.property(
        desiredServices,
        fc.array(backend, { maxLength: 4 }),
        fc.nat(),
        (before, backends, which) => {
          fc.pre(before.length > 0);
          const { datapath } = fakeDatapath();
          for (const operation of plan(before, empty, NOW)) apply(datapath, operation);
          const changed = { ...before[which % before.length]!, backends };
          const after = before.map((service) => (service.key === changed.key ? changed : service));
          expect(planChange(changed, datapath)).toEqual(plan(after, readServiceMaps(datapath), NOW));
        },
      ),
    );
  });

  it("changes no service alone that the maps do not have, or have as removed", () => {
    const { datapath } = fakeDatapath();
    const key: ServiceKey = { address: "169.254.169.254", port: 80, protocol: "tcp" };
    const rest = { responseHopLimit: 64, whenNoBackend: "drop" as const, drain: 30_000 };
    expect(planChange({ key, ...rest, backends: [] }, datapath)).toBeUndefined();
    datapath.services.set(key, { id: 1, backends: 0, ...rest, drainEnds: 1n });
    expect(planChange({ key, ...rest, backends: [] }, datapath)).toBeUndefined();
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
        "set-backend",
        "set-service",
        "set-address",
        "set-service",
      ]);
      expect(maps.services.get(keyText(key))?.[1]).toMatchObject({ id: 1, backends: 0, drainEnds: ENDS });
      expect(maps.services.get(keyText(other))?.[1]).toMatchObject({ id: 2, drainEnds: 0n });
      expect(reach([serviceWith(other, 0)], ENDS - 1n)).toEqual([]);
      expect(reach([serviceWith(other, 0)], ENDS)).toEqual([
        { kind: "end-flows", services: [1], addresses: [key.address] },
        { kind: "delete-address", address: key.address },
        { kind: "delete-service", key },
        { kind: "delete-backend", key: { service: 1, slot: 0 } },
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
        "set-service",
        "end-flows",
        "delete-address",
        "delete-service",
        "delete-backend",
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
