import fc from "fast-check";
import { expect, it } from "vitest";
import { formatDuration, parseDuration } from "./duration.ts";

it.each([
  ["0s", 0],
  ["500ms", 500],
  ["5s", 5000],
  ["2m", 120_000],
  ["1h", 3_600_000],
])("%s is %i ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each(["", "5", "s", "5 s", "-5s", "1.5s", "05s", "5S", "5d", "1m30s", "5s\n", "9999999999s"])(
  "%j is no duration",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

it("what is written is read as it was", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999_999_999 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
  expect([0, 1500, 90_000, 7_200_000].map(formatDuration)).toEqual(["0ms", "1500ms", "90s", "2h"]);
});
