import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatPortRanges,
  type PortRange,
  parsePortRanges,
  reservePorts,
  subtractPorts,
  unitePorts,
} from "./reserved-ports.ts";

const range: fc.Arbitrary<PortRange> = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 12 }))
  .map(([first, length]) => [first, first + length]);
const ranges = fc.array(range, { maxLength: 5 });

/** The ports one by one: the slow and obvious way. */
function ports(list: readonly PortRange[]): Set<number> {
  return new Set(
    list.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i)),
  );
}

function sorted(set: Iterable<number>): number[] {
  return [...new Set(set)].sort((a, b) => a - b);
}

describe("reserved ports", () => {
  it("reads and writes the kernel's form", () => {
    expect(parsePortRanges("\n")).toEqual([]);
    expect(parsePortRanges("8080,61000-65535\n")).toEqual([
      [8080, 8080],
      [61000, 65535],
    ]);
    expect(formatPortRanges([])).toBe("\n");
    expect(
      formatPortRanges([
        [8080, 8080],
        [61000, 65535],
      ]),
    ).toBe("8080,61000-65535\n");
    expect(() => parsePortRanges("80-")).toThrow('"80-" in the list of reserved ports is neither');
  });

  it("unites and subtracts like sets of ports, in ascending ranges that do not touch", () => {
    fc.assert(
      fc.property(ranges, ranges, (a, b) => {
        const united = unitePorts(a, b);
        const left = subtractPorts(a, b);
        expect(sorted(ports(united))).toEqual(sorted([...ports(a), ...ports(b)]));
        expect(sorted(ports(left))).toEqual(sorted([...ports(a)].filter((port) => !ports(b).has(port))));
        for (const list of [united, left]) {
          for (const [i, [first, last]] of list.entries()) {
            expect(first).toBeLessThanOrEqual(last);
            if (i > 0) expect(first).toBeGreaterThan(list[i - 1]![1] + 1);
          }
        }
      }),
    );
  });

  it("keeps what others reserved, and takes away no more than it added", () => {
    fc.assert(
      fc.property(ranges, ranges, ranges, (others, first, second) => {
        const start = reservePorts(others, [], first);
        const restart = reservePorts(start.list, start.added, second);
        expect(sorted(ports(restart.list))).toEqual(sorted(ports(unitePorts(others, second))));
        expect(subtractPorts(restart.list, restart.added)).toEqual(unitePorts(others, []));
      }),
    );
  });
});
