/**
 * The differential test without an end: `make fuzz`. Runs until it is interrupted or finds a difference, which it shrinks and prints with the seed that
 * brings it back (`make fuzz SEED=N`). A line every ten seconds says how far it is.
 */
import fc from "fast-check";
import { compare, configure, type Tally } from "./compare.ts";
import { sequences } from "./generate.ts";
import { openKernel } from "./kernel.ts";

const RUNS_PER_SEED = 200;
const SEQUENCE_LENGTH = 100;
const REPORT_INTERVAL_MS = 10_000;

/** Fuzzes from `first` on until `stop` says so; returns whether no difference was found. */
export async function fuzz(
  first: number,
  stop: () => boolean,
  print: (line: string) => void,
): Promise<boolean> {
  const kernel = openKernel();
  const tally: Tally = { frames: 0, skipped: 0, reasons: new Map() };
  const started = Date.now();
  let reported = started;
  try {
    configure(kernel);
    for (let seed = first; !stop(); seed++) {
      const outcome = fc.check(
        fc.property(sequences(kernel.interfaces.fabricMac, SEQUENCE_LENGTH), (sequence) => {
          const difference = compare(kernel, sequence, tally);
          if (difference !== undefined) throw new Error(difference);
        }),
        { seed, numRuns: RUNS_PER_SEED },
      );
      if (outcome.failed) {
        print(`seed ${seed}, found after ${tally.frames} frames: ${outcome.errorInstance}`);
        print(fc.defaultReportMessage(outcome) ?? "");
        return false;
      }
      if (Date.now() - reported >= REPORT_INTERVAL_MS) {
        reported = Date.now();
        print(`${tally.frames} frames in ${Math.round((reported - started) / 1000)} s, at seed ${seed}`);
      }
      // Signals are only heard between two turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    }
    print(`${tally.frames} frames, no difference`);
    return true;
  } finally {
    kernel.close();
  }
}
