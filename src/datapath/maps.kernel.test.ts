import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EntryError } from "./errors.ts";
import { u32Layout } from "./layout.ts";
import { BPF_F_NO_PREALLOC, closeFd, createMap, MAP_TYPE } from "./libbpf.ts";
import { openMap, single } from "./maps.ts";
import { errorOf } from "./testing.ts";

const number = single(u32Layout, "value");
const ROOM = 64;
/** A hash of interfaces, by ifindex (BPF_MAP_TYPE_DEVMAP_HASH): the kernel has no batches for it. */
const DEVMAP_HASH = 25;
const LOOPBACK = 1;

let fds: number[];
beforeEach(() => {
  fds = [];
});
afterEach(() => fds.forEach(closeFd));

function makeMap(maxEntries: number, type = MAP_TYPE.hash) {
  const flags = type === MAP_TYPE.hash ? BPF_F_NO_PREALLOC : 0;
  const fd = createMap("test", { type, keySize: 4, valueSize: 4, maxEntries, flags });
  fds.push(fd);
  return openMap(fd, number, number);
}

describe("many entries at once", () => {
  it("leave what the same writes leave one by one, whatever comes together", () => {
    const key = fc.integer({ min: 0, max: 40 });
    const set = fc.record({ set: fc.array(fc.tuple(key, fc.nat(9)), { maxLength: 30 }) });
    const remove = fc.record({ remove: fc.array(key, { maxLength: 30 }) });
    fc.assert(
      fc.property(fc.array(fc.oneof(set, remove), { maxLength: 8 }), (steps) => {
        const [together, oneByOne] = [makeMap(ROOM), makeMap(ROOM)];
        for (const step of steps) {
          if ("set" in step) {
            together.setAll(step.set);
            for (const [key, value] of step.set) oneByOne.set(key, value);
          } else {
            together.deleteAll(step.remove);
            for (const key of step.remove) oneByOne.delete(key);
          }
          expect(new Map(together.entries())).toEqual(new Map(oneByOne.entries()));
        }
      }),
      { numRuns: 50 },
    );
  });

  it("say how far they came in a map that has no more room", () => {
    const map = makeMap(4);
    map.set(2, 0);
    const error = errorOf(() => map.setAll([1, 2, 3, 4, 5, 6].map((key) => [key, 1])));
    expect(error).toBeInstanceOf(EntryError);
    expect(error).toMatchObject({ index: 4, message: "write a map entry: E2BIG (argument list too long)" });
    expect(new Map(map.entries())).toEqual(new Map([1, 2, 3, 4].map((key) => [key, 1])));
  });

  it("go one by one where the kernel has no batches for them", () => {
    const map = makeMap(2, DEVMAP_HASH);
    map.setAll([
      [7, LOOPBACK],
      [8, LOOPBACK],
    ]);
    expect([map.get(7), map.get(8)]).toEqual([LOOPBACK, LOOPBACK]);
    map.deleteAll([9, 7, 8]);
    expect([map.get(7), map.get(8)]).toEqual([undefined, undefined]);
    const none = 0x7fffffff;
    const error = errorOf(() =>
      map.setAll([
        [7, LOOPBACK],
        [8, none],
        [9, LOOPBACK],
      ]),
    );
    expect(error).toMatchObject({ index: 1 });
    expect([map.get(7), map.get(8), map.get(9)]).toEqual([LOOPBACK, undefined, undefined]);
  });
});
