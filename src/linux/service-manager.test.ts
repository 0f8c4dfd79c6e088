import { expect, it } from "vitest";
import { watchdogInterval } from "./service-manager.ts";

it("gives signs of life twice in the manager's time limit, where they are wanted of this process", () => {
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000" }, 7)).toBe(15_000);
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "7" }, 7)).toBe(15_000);
  expect(watchdogInterval({ WATCHDOG_USEC: "1" }, 7)).toBe(1);
  expect(watchdogInterval({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "8" }, 7)).toBeUndefined();
  expect(watchdogInterval({ WATCHDOG_USEC: "0" }, 7)).toBeUndefined();
  expect(watchdogInterval({ WATCHDOG_USEC: "many" }, 7)).toBeUndefined();
  expect(watchdogInterval({}, 7)).toBeUndefined();
});
