/** One TCP connection that carries as much as it can, by iperf3, both ways, to a host-local and to a fabric backend. */
import { test } from "vitest";
import type { Guest } from "../src/lab/lab.ts";
import { output } from "../test/support/commands.ts";
import { CLIENT_PROCESSOR } from "./load.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";
import { ceilingNote, LOOPBACK, openWays, PORT, type Side, type Way } from "./ways.ts";

const ROUNDS = 15;
const UNIT = "Gbit/s";
/** Of one run: some tenths of a second. */
const BYTES = "1G";

/** The rate of one run in Gbit/s, as the receiver saw it. */
function rateOf({ guest, address }: Way, side: Side, reverse: boolean): Promise<number> {
  return rateBetween(guest, address[side], reverse);
}

async function rateBetween(guest: Guest, address: string, reverse: boolean): Promise<number> {
  const options = ["--json", "--bytes", BYTES, "--port", String(PORT.iperf)];
  const direction = reverse ? ["--reverse"] : [];
  const json = await output(guest, [
    ...CLIENT_PROCESSOR,
    "iperf3",
    "--client",
    address,
    ...options,
    ...direction,
  ]);
  return JSON.parse(json).end.sum_received.bits_per_second / 1e9;
}

test("TCP bulk through a service, directly, and through nftables", async () => {
  await using ways = await openWays();
  for (const side of ["host-local", "fabric"] as const) {
    for (const reverse of [false, true]) {
      const { loopback, ...values } = await rounds(ROUNDS, {
        onlink: () => rateOf(ways.onlink, side, reverse),
        direct: () => rateOf(ways.direct, side, reverse),
        nftables: () => rateOf(ways.nftables, side, reverse),
        loopback: () => rateBetween(ways.direct.guest, LOOPBACK, reverse),
      });
      record({
        part: "bulk",
        work: reverse ? `From a ${side} backend to the guest` : `From the guest to a ${side} backend`,
        unit: UNIT,
        values,
        targets: [
          { way: "onlink", against: "direct", bound: "at least", limit: 0.98 },
          { way: "onlink", against: "nftables", bound: "at least", limit: 1 },
        ],
        notes: [ceilingNote("iperf3", loopback, UNIT)],
      });
    }
  }
});
