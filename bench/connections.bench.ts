/** New TCP connections, each for one request and one answer of 64 bytes. */
import { test } from "vitest";
import { runLoad } from "./load.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";
import { openWays, PORT, type Way } from "./ways.ts";

const ROUNDS = 21;
const SECONDS = 0.5;
/** Connections under way at a time. */
const WINDOW = 32;

test("new TCP connections through a service, directly, and through nftables", async () => {
  await using ways = await openWays();
  for (const side of ["host-local", "fabric"] as const) {
    const rateOf = async ({ guest, address }: Way) => {
      const args = ["connect", address[side], String(PORT.load), String(SECONDS), String(WINDOW)];
      const { good, seconds } = await runLoad(guest, ...args);
      return good / seconds;
    };
    record({
      part: "connections",
      work: `To a ${side} backend`,
      unit: "connections/s",
      values: await rounds(ROUNDS, {
        onlink: () => rateOf(ways.onlink),
        direct: () => rateOf(ways.direct),
        nftables: () => rateOf(ways.nftables),
      }),
      targets: [
        { way: "onlink", against: "direct", bound: "at least", limit: 0.95 },
        { way: "onlink", against: "nftables", bound: "at least", limit: 1.25 },
      ],
      notes: [],
    });
  }
});
