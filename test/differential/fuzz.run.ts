/** `make fuzz`: vitest only compiles and loads this; see `fuzz.ts`. */
import { expect, it } from "vitest";
import { fuzz } from "./fuzz.ts";

it("finds no difference until told to stop", { timeout: 2 ** 31 - 1 }, async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  const until = Date.now() + Number(process.env.SECONDS ?? Number.POSITIVE_INFINITY) * 1000;
  let stopped = false;
  process.once("SIGINT", () => {
    stopped = true;
  });
  expect(await fuzz(seed, () => stopped || Date.now() > until, console.log)).toBe(true);
});
