import { expect, test } from "vitest";
import {
  figure,
  formatMeasurement,
  judge,
  type Measurement,
  plotName,
  spread,
  toMarkdown,
  toSvg,
} from "./report.ts";
import { rounds } from "./rounds.ts";

const MEASUREMENT: Measurement = {
  part: "udp",
  work: "Rate to a <fabric> backend",
  unit: "answers/s",
  values: { onlink: [90, 110, 100], nftables: [80, 100, 90] },
  targets: [
    { way: "onlink", against: "nftables", bound: "at least", limit: 1 },
    { way: "onlink", bound: "at most", limit: 60 },
  ],
  notes: ["The client alone reaches 1,000."],
};

test("targets are judged by the median of the rounds, against a peer by the ratio of each round", () => {
  const seen = judge(MEASUREMENT).map(({ reached, middle, met }) => [reached, ...middle, met]);
  expect(seen).toEqual([
    [100 / 90, 1.1, 90 / 80, true],
    [100, 90, 110, false],
  ]);
  // Twice the speed in all rounds is twice the speed, however the machine changes from one to the next.
  const values = { onlink: [2, 20, 200, 4, 40], direct: [1, 10, 100, 2, 20] };
  const target = { way: "onlink", against: "direct", bound: "at least", limit: 1 } as const;
  expect(judge({ values, targets: [target] })).toMatchObject([{ reached: 2, middle: [2, 2], met: true }]);
  expect(() => judge({ values: { ...values, direct: [1] }, targets: [target] })).toThrow(
    /5 rounds, direct 1/,
  );
});

test("the spread is the middle half of the rounds", () => {
  expect(spread([1, 2, 3, 4, 5])).toBeCloseTo(2 / 3);
  expect(spread([7])).toBe(0);
});

test("figures have the digits that mean something", () => {
  expect([0.123456, 12.345, 456.7, 12345.6].map(figure)).toEqual(["0.123", "12.3", "457", "12,346"]);
});

test("a terminal shows every round and every verdict", () => {
  expect(formatMeasurement(MEASUREMENT)).toBe(
    [
      "Rate to a <fabric> backend (answers/s):",
      "  onlink    median 100, rounds 90.0 110 100",
      "  nftables  median 90.0, rounds 80.0 100 90.0",
      "  1.11 of nftables (1.10 to 1.13), at least 1: met",
      "  100 answers/s, at most 60.0 answers/s: missed",
      "  The client alone reaches 1,000.",
    ].join("\n"),
  );
});

test("the page has the parts in the order of their titles, with table, plot and verdicts", () => {
  const machine = {
    processor: "A processor",
    processors: 2,
    memoryGiB: 24,
    kernel: "6.18",
    node: "20.20.2",
    onlink: "0.1.0",
    peers: { nftables: "1.0.6" },
  };
  const part = { date: "2026-11-22T12:00:00Z", measurements: [MEASUREMENT] };
  const page = toMarkdown({ machine, parts: { udp: part } }, { arp: "ARP", udp: "UDP" });
  expect(page).not.toContain("## ARP");
  expect(page).toContain("## UDP\n\n`make bench ONLY=udp`, 2026-11-22.");
  expect(page).toContain("| onlink | 100 | 20 % | 3 |");
  expect(page).toContain("(benchmarks/udp-rate-to-a-fabric-backend.svg)");
  expect(page).toContain("Target: 100 answers/s, at most 60.0 answers/s: **missed**.");
});

test("a plot is well-formed whatever the work is called", () => {
  const svg = toSvg(MEASUREMENT);
  expect(svg).toContain("&lt;fabric&gt;");
  expect(svg.match(/<rect /g)).toHaveLength(3);
  expect(svg.match(/<circle /g)).toHaveLength(6);
  expect(plotName("udp", MEASUREMENT.work)).toBe("udp-rate-to-a-fabric-backend.svg");
});

test("a plot has room for the names of the ways, and for the bars beside them", () => {
  const name = "haproxy, one for each of 1000 networks";
  const svg = toSvg({ ...MEASUREMENT, values: { onlink: [1], [name]: [1000] } });
  const [, end] = new RegExp(`<text x="([\\d.]+)" [^>]*>${name}`).exec(svg)!;
  expect(Number(end)).toBeGreaterThan(name.length * 6.5);
  expect(Number(end)).toBeLessThan(300);
});

test("ways take turns, every other round the other way round, after one round that does not count", async () => {
  const calls: string[] = [];
  let value = 0;
  const way = (name: string) => () => {
    calls.push(name);
    value += 1;
    return value;
  };
  const values = await rounds(2, { a: way("a"), b: way("b") });
  expect(calls.join("")).toBe("ababba");
  expect(values).toEqual({ a: [3, 6], b: [4, 5] });
});
