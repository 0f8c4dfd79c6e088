/** New TCP connections, each for one request and one answer of 64 bytes. */
import { test } from "vitest";
import { failuresOf, figuresOf, loadRounds, rateOf } from "./load.ts";
import { record } from "./record.ts";
import { ceilingNote, loadWays, loopbackWay, openWays } from "./ways.ts";

const ROUNDS = 15;
const UNIT = "connections/s";
const SECONDS = 0.8;
/** Connections under way at a time. */
const WINDOW = 32;

test("new TCP connections through a service, directly, and through nftables", async () => {
  await using ways = await openWays();
  const load = { kind: "connect", window: WINDOW, seconds: SECONDS } as const;
  for (const side of ["host-local", "fabric"] as const) {
    const { loopback, ...results } = await loadRounds(
      ROUNDS,
      { ...loadWays(ways, side), loopback: loopbackWay(ways) },
      load,
    );
    record({
      part: "connections",
      work: `To a ${side} backend`,
      unit: UNIT,
      values: figuresOf(results, rateOf),
      targets: [
        { way: "onlink", against: "direct", bound: "at least", limit: 0.95 },
        { way: "onlink", against: "nftables", bound: "at least", limit: 1.25 },
      ],
      notes: [ceilingNote("The generator", loopback.map(rateOf), UNIT), ...failuresOf(results)],
    });
  }
});
