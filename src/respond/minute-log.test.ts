import { expect, it } from "vitest";
import { newMinuteLog } from "./minute-log.ts";

it("admits each key once a minute", () => {
  const log = newMinuteLog(10);
  expect(log.admit("a", 0)).toEqual({ left: 0 });
  expect(log.admit("a", 59_999)).toBeUndefined();
  expect(log.admit("b", 59_999)).toEqual({ left: 0 });
  expect(log.admit("a", 60_000)).toEqual({ left: 0 });
  expect(log.admit("a", 60_001)).toBeUndefined();
});

it("writes so many lines a minute and no more, and then says how often it did not", () => {
  const log = newMinuteLog(3);
  const admitted = Array.from({ length: 1000 }, (_, i) => log.admit(`key ${i}`, i)).filter(Boolean);
  expect(admitted.length).toBe(3);
  expect(log.admit("key 0", 60_000)).toEqual({ left: 997 });
  expect(log.admit("key 1", 60_001)).toEqual({ left: 0 });
});
