import { expect, test } from "vitest";
import { describeFrame } from "../packet/describe.ts";
import { hexDump } from "../packet/hex.ts";
import { CASES, exampleState } from "./cases.ts";
import { step } from "./step.ts";
import type { Verdict } from "./verdict.ts";

/** Frames as text, so that a difference can be read. */
function readable(verdict: Verdict): unknown {
  if (verdict.kind !== "send") return verdict;
  return { ...verdict, frame: `${describeFrame(verdict.frame)}\n${hexDump(verdict.frame)}` };
}

test.each(CASES)("$row: $title", (example) => {
  const { given, before = [], input, verdict, reason } = example;
  const state = exampleState();
  given?.(state);
  for (const earlier of before) step(state, earlier);
  const original = input.frame.slice();
  const result = step(state, input);
  expect(readable(result.verdict)).toEqual(readable(verdict));
  expect(result.reason).toBe(reason);
  const counted = reason === undefined ? undefined : input.ifindex;
  expect(result.vif).toBe("vif" in example ? example.vif : counted);
  expect(input.frame).toEqual(original);
});

test("more of the list is left alone or dropped than acted on", () => {
  expect(CASES.filter(({ verdict }) => verdict.kind !== "send").length).toBeGreaterThan(CASES.length / 2);
});
