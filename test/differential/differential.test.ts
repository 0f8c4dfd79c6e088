/** The datapath table, written twice: the eBPF programs and the model must do the same with every frame. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compare, configure, type Tally } from "./compare.ts";
import { sequences } from "./generate.ts";
import { type Kernel, openKernel } from "./kernel.ts";

/** Frames of a run that is part of every test run. */
const FRAMES = 24_000;
const SEQUENCE_LENGTH = 60;

let kernel: Kernel;

beforeAll(() => {
  kernel = openKernel();
  configure(kernel);
});
afterAll(() => kernel.close());

describe("generated sequences of frames", () => {
  it(`have the same verdicts, bytes, counts and flows in model and programs (at least ${FRAMES} frames)`, () => {
    const tally: Tally = { frames: 0, skipped: 0, reasons: new Map() };
    const seed = Number(process.env.ONLINK_SEED ?? Date.now() % 2 ** 31);
    let rounds = 0;
    while (tally.frames < FRAMES) {
      const failure = fc.check(
        fc.property(sequences(kernel.interfaces.fabricMac, SEQUENCE_LENGTH), (sequence) => {
          const difference = compare(kernel, sequence, tally);
          if (difference !== undefined) throw new Error(difference);
        }),
        { seed: seed + rounds, numRuns: 100 },
      );
      if (failure.failed)
        expect.fail(`seed ${seed + rounds}: ${failure.errorInstance}\n${fc.defaultReportMessage(failure)}`);
      rounds++;
    }
    console.log(
      `${tally.frames} frames compared, ${tally.skipped} not taken by the kernel for a test run; seed ${seed}`,
    );
    console.log([...tally.reasons].map(([reason, count]) => `${reason} ${count}`).join(", "));
    // The generator must reach every row, or the agreement says little.
    expect([...tally.reasons.keys()].sort()).toEqual(
      [
        "arp-conflict",
        "arp-gateway",
        "arp-other",
        "arp-probe-reply",
        "arp-reply",
        "echo-reply",
        "forwarded",
        "fragment",
        "icmp-error",
        "limit",
        "malformed",
        "no-backend",
        "no-flow",
        "no-port",
        "returned",
        "spoofed",
        "unknown-port",
        "vlan",
      ].sort(),
    );
    expect(tally.skipped).toBeLessThan(tally.frames / 50);
  });
});
