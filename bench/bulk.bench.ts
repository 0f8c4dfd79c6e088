/** One TCP connection that carries as much as it can, by iperf3, both ways, to a host-local and to a fabric backend. */
import { test } from "vitest";
import { output } from "../test/support/commands.ts";
import { CLIENT_PROCESSOR } from "./load.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";
import { openWays, PORT, type Side, type Way } from "./ways.ts";

const ROUNDS = 15;
/** Of one run: some tenths of a second. */
const BYTES = "1G";

/** The rate of one run in Gbit/s, as the receiver saw it. */
async function rateOf({ guest, address }: Way, side: Side, reverse: boolean): Promise<number> {
  const options = ["--json", "--bytes", BYTES, "--port", String(PORT.iperf)];
  const direction = reverse ? ["--reverse"] : [];
  const json = await output(guest, [
    ...CLIENT_PROCESSOR,
    "iperf3",
    "--client",
    address[side],
    ...options,
    ...direction,
  ]);
  return JSON.parse(json).end.sum_received.bits_per_second / 1e9;
}

test("TCP bulk through a service, directly, and through nftables", async () => {
  await using ways = await openWays();
  for (const side of ["host-local", "fabric"] as const) {
    for (const reverse of [false, true]) {
      const values = await rounds(ROUNDS, {
        onlink: () => rateOf(ways.onlink, side, reverse),
        direct: () => rateOf(ways.direct, side, reverse),
        nftables: () => rateOf(ways.nftables, side, reverse),
      });
      record({
        part: "bulk",
        work: reverse ? `From a ${side} backend to the guest` : `From the guest to a ${side} backend`,
        unit: "Gbit/s",
        values,
        targets: [
          { way: "onlink", against: "direct", bound: "at least", limit: 0.98 },
          { way: "onlink", against: "nftables", bound: "at least", limit: 1 },
        ],
        notes: [],
      });
    }
  }
});
