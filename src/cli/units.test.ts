import fc from "fast-check";
import { expect, it } from "vitest";
import { formatAge, formatAgo, formatBytes, formatCount } from "./units.ts";

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [1536, "1.5 KiB"],
  [10 * 1024, "10 KiB"],
  [1024 ** 2 - 1, "1.0 MiB"],
  [1024 ** 3, "1.0 GiB"],
  ["1152921504606846976", "1.0 EiB"],
  ["18446744073709551615", "16 EiB"],
])("%s bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it.each([
  [0, "0"],
  [99_999, "99999"],
  [100_000, "100 k"],
  [1_234_567, "1.2 M"],
  ["9007199254740993", "9.0 P"],
])("a count of %s is %s", (count, text) => {
  expect(formatCount(count)).toBe(text);
});

it.each([
  [-1, "0s"],
  [0.9, "0s"],
  [59.9, "59s"],
  [60, "1m"],
  [312, "5m12s"],
  [7200, "2h"],
  [7260, "2h1m"],
  [86_400 + 59, "1d"],
  [3 * 86_400 + 4 * 3600 + 5, "3d4h"],
])("%s seconds are %s", (seconds, text) => {
  expect(formatAge(seconds)).toBe(text);
});

it("tells ages from the time of day", () => {
  expect(formatAgo("2026-01-02T03:04:05.000Z", Date.UTC(2026, 0, 2, 3, 5, 6))).toBe("1m1s ago");
});

it("keeps every value short", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      expect(formatBytes(String(value)).length).toBeLessThanOrEqual(8);
      expect(formatCount(String(value)).length).toBeLessThanOrEqual(6);
      expect(formatAge(Number(value / 10_000_000_000n)).length).toBeLessThanOrEqual(9);
    }),
  );
});
