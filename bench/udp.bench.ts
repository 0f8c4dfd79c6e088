/** Datagrams of 64 bytes and their answers: as many as go, and the time that one takes when it is alone. */
import { test } from "vitest";
import { type LoadResult, runLoad } from "./load.ts";
import { record } from "./record.ts";
import { rounds, withoutFirst } from "./rounds.ts";
import { openWays, PORT, type Side, type Way } from "./ways.ts";

const ROUNDS = 15;
const SECONDS = 0.4;
/** Datagrams under way at a time, for the rate. */
const WINDOW = 32;

function ask({ guest, address }: Way, side: Side, window: number): Promise<LoadResult> {
  return runLoad(guest, "udp", address[side], String(PORT.load), String(SECONDS), String(window));
}

test("UDP through a service, directly, and through nftables", async () => {
  await using ways = await openWays();
  for (const side of ["host-local", "fabric"] as const) {
    const rateOf = async (way: Way) => {
      const { good, seconds } = await ask(way, side, WINDOW);
      return good / seconds;
    };
    record({
      part: "udp",
      work: `Rate to a ${side} backend`,
      unit: "answers/s",
      values: await rounds(ROUNDS, {
        onlink: () => rateOf(ways.onlink),
        direct: () => rateOf(ways.direct),
        nftables: () => rateOf(ways.nftables),
      }),
      targets: [{ way: "onlink", against: "nftables", bound: "at least", limit: 1 }],
      notes: [],
    });

    const p99: Record<string, number[]> = { onlink: [], direct: [], nftables: [] };
    const timeOf = async (name: "onlink" | "direct" | "nftables") => {
      const result = await ask(ways[name], side, 1);
      p99[name]!.push(result.p99);
      return result.p50;
    };
    const p50 = await rounds(ROUNDS, {
      onlink: () => timeOf("onlink"),
      direct: () => timeOf("direct"),
      nftables: () => timeOf("nftables"),
    });
    const common = { part: "udp", unit: "us", notes: [] };
    record({ ...common, work: `Time to a ${side} backend and back, p50`, values: p50, targets: [] });
    record({
      ...common,
      work: `Time to a ${side} backend and back, p99`,
      values: withoutFirst(p99),
      targets: [{ way: "onlink", against: "nftables", bound: "at most", limit: 1 }],
    });
  }
});
