import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createStepper, type ReconcileTrigger } from "./stepper.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  const taken: string[] = [];
  const told: Array<[ReconcileTrigger, number]> = [];
  const state = { broken: false };
  const stepper = createStepper(
    [
      () => {
        taken.push("first");
        if (state.broken) throw new Error("no room");
      },
      () => taken.push("second"),
    ],
    {
      onReconcile: (trigger, _, failures) => told.push([trigger, failures]),
      log: pino({ enabled: false }),
    },
  );
  return { stepper, taken, told, state };
}

it("takes the steps behind one that failed too, and says what went wrong until it goes well", () => {
  const { stepper, taken, told, state } = setUp();
  state.broken = true;
  stepper.soon();
  stepper.soon();
  vi.advanceTimersByTime(1000);
  expect(taken).toEqual(["first", "second"]);
  expect(stepper.failures()).toEqual(["no room"]);
  state.broken = false;
  vi.advanceTimersByTime(5000);
  expect(taken).toHaveLength(4);
  expect(stepper.failures()).toEqual([]);
  expect(told.slice(0, 2)).toEqual([
    ["host", 1],
    ["host", 0],
  ]);
  vi.advanceTimersByTime(20_000);
  expect(taken).toHaveLength(4);
  stepper.close();
});

it("keeps a failure in mind until all steps are taken again", () => {
  const { stepper, taken } = setUp();
  stepper.take("reload", () => {
    throw new Error("no room");
  });
  stepper.take("backend", () => {});
  expect(stepper.failures()).toEqual(["no room"]);
  vi.advanceTimersByTime(5000);
  expect(taken).toEqual(["first", "second"]);
  expect(stepper.failures()).toEqual([]);
  stepper.close();
});

it("waits as long as it was asked to the last time, and not at all once it is closed", () => {
  const { stepper, taken } = setUp();
  stepper.after(1000);
  stepper.after(5000);
  vi.advanceTimersByTime(4000);
  expect(taken).toEqual([]);
  vi.advanceTimersByTime(2000);
  expect(taken).toEqual(["first", "second"]);
  stepper.soon();
  stepper.after(1);
  stepper.close();
  vi.advanceTimersByTime(100_000);
  expect(taken).toHaveLength(2);
});
