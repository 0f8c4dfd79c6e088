/** Datagrams of 64 bytes and their answers: as many as go, and the time that one takes when it is alone. */
import { test } from "vitest";
import { failuresOf, figuresOf, loadRounds, rateOf } from "./load.ts";
import { record } from "./record.ts";
import { ceilingNote, loadWays, loopbackWay, openWays } from "./ways.ts";

const ROUNDS = 15;
const UNIT = "answers/s";
const SECONDS = 0.4;
/** For the time that one takes: more turns. */
const SECONDS_ALONE = 0.6;
/** Datagrams under way at a time, for the rate. */
const WINDOW = 32;
const OF_A_TURN =
  "The percentile of a turn of 20 ms; of a round the median of its turns. Where the hypervisor gives this machine's time to others, many turns have a p99 of a millisecond and more, whatever the way.";

test("UDP through a service, directly, and through nftables", async () => {
  await using opened = await openWays();
  const load = { kind: "udp", window: WINDOW, seconds: SECONDS } as const;
  for (const side of ["host-local", "fabric"] as const) {
    const ways = loadWays(opened, side);
    const { loopback, ...many } = await loadRounds(ROUNDS, { ...ways, loopback: loopbackWay(opened) }, load);
    record({
      part: "udp",
      work: `Rate to a ${side} backend`,
      unit: UNIT,
      values: figuresOf(many, rateOf),
      targets: [{ way: "onlink", against: "nftables", bound: "at least", limit: 1 }],
      notes: [ceilingNote("The generator", loopback.map(rateOf), UNIT), ...failuresOf(many)],
    });
    const alone = await loadRounds(ROUNDS, ways, { ...load, window: 1, seconds: SECONDS_ALONE });
    const common = { part: "udp", unit: "us", notes: [OF_A_TURN, ...failuresOf(alone)] };
    record({
      ...common,
      work: `Time to a ${side} backend and back, p50`,
      values: figuresOf(alone, ({ p50 }) => p50),
      targets: [],
    });
    record({
      ...common,
      work: `Time to a ${side} backend and back, p99`,
      values: figuresOf(alone, ({ p99 }) => p99),
      targets: [{ way: "onlink", against: "nftables", bound: "at most", limit: 1 }],
    });
  }
});
