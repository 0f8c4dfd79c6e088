import { describe, expect, it } from "vitest";
import { DatapathError, EntryError } from "./errors.ts";
import { withCounters } from "./service-counters.ts";
import { errorOf } from "./testing.ts";
import type { DatapathMap, ServiceCounters, ServiceEntry, ServiceKey } from "./types.ts";

const NONE: ServiceCounters = {
  flows: 0n,
  refused: 0n,
  framesOut: 0n,
  bytesOut: 0n,
  framesIn: 0n,
  bytesIn: 0n,
};
const keyOf = (port: number): ServiceKey => ({ address: "169.254.169.254", port, protocol: "tcp" });
const entryOf = (id: number): ServiceEntry => ({
  id,
  backends: 0,
  responseHopLimit: 64,
  whenNoBackend: "reject",
  drain: 0,
  drainEnds: 0n,
});

/** A map in memory in which what has to do with the keys in `broken` fails. */
function mapOf<K, V>(some: ReadonlyArray<[K, V]>) {
  const held = new Map(some.map(([key, value]) => [JSON.stringify(key), [key, value] as [K, V]]));
  const broken = new Set<string>();
  function each<T>(all: readonly T[], keyOf: (one: T) => K, write: (text: string, one: T) => void): void {
    for (const [index, one] of all.entries()) {
      const text = JSON.stringify(keyOf(one));
      if (broken.has(text)) throw new EntryError(new DatapathError("no", 1), index);
      write(text, one);
    }
  }
  const map: DatapathMap<K, V> = {
    get: (key) => held.get(JSON.stringify(key))?.[1],
    set: (key, value) => map.setAll([[key, value]]),
    setAll: (entries) =>
      each(
        entries,
        ([key]) => key,
        (text, entry) => held.set(text, entry),
      ),
    delete: (key) => held.delete(JSON.stringify(key)),
    deleteAll: (keys) =>
      each(
        keys,
        (key) => key,
        (text) => held.delete(text),
      ),
    entries: () => [...held.values()],
  };
  return { map, broken, keys: () => [...held.values()].map(([key]) => key) };
}

/** Services with the ids and ports 1, 2 and 3, and counters of those of `counted`. */
function setUp(counted = [1, 2, 3]) {
  const services = mapOf([1, 2, 3].map((id) => [keyOf(id), entryOf(id)] as [ServiceKey, ServiceEntry]));
  const counters = mapOf(counted.map((id) => [id, NONE] as [number, ServiceCounters]));
  return { services, counters, both: withCounters(services.map, counters.map) };
}

describe("the counters of a service", () => {
  it("go with it, and no others", () => {
    const { counters, both } = setUp();
    both.deleteAll([keyOf(3), keyOf(1)]);
    expect(counters.keys()).toEqual([2]);
    expect(both.delete(keyOf(2))).toBe(true);
    expect(both.delete(keyOf(2))).toBe(false);
    expect(counters.keys()).toEqual([]);
  });

  it("that cannot be deleted are no error about services, and are gone before their id is given again", () => {
    const { services, counters, both } = setUp();
    counters.broken.add("2");
    both.deleteAll([keyOf(1), keyOf(2)]);
    expect(services.keys()).toEqual([keyOf(3)]);

    const error = errorOf(() => both.set(keyOf(4), entryOf(2)));
    expect(error).toEqual(new DatapathError("counters of services that are gone: no", 1));
    expect(error, "its index would be that of a service").not.toBeInstanceOf(EntryError);
    expect(services.keys(), "nothing was written").toEqual([keyOf(3)]);

    counters.broken.clear();
    both.set(keyOf(4), entryOf(2));
    expect(counters.keys()).toEqual([3]);
  });

  it("go where other services could not be deleted; the error is about the first of these", () => {
    const { services, counters, both } = setUp();
    services.broken.add(JSON.stringify(keyOf(2)));
    expect(errorOf(() => both.deleteAll([keyOf(1), keyOf(2), keyOf(3)]))).toMatchObject({ index: 1 });
    both.setAll([]);
    expect(counters.keys()).toEqual([2, 3]);
  });

  it("that an agent left which was killed in between are gone before their id is given again", () => {
    const { counters, both } = setUp([1, 7]);
    both.set(keyOf(4), entryOf(7));
    expect(counters.keys()).toEqual([1]);
  });
});
