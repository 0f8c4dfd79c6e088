import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSaver } from "./saver.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("saver", () => {
  it("saves a change at once, and those of a burst together", () => {
    const save = vi.fn();
    const saver = createSaver(save, "it", pino({ enabled: false }));
    saver.changed();
    expect(save).toHaveBeenCalledTimes(1);
    for (let change = 0; change < 10; change++) saver.changed();
    expect(save).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(100);
    expect(save).toHaveBeenCalledTimes(2);
    saver.changed();
    expect(save).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(100);
    expect(save).toHaveBeenCalledTimes(3);
    vi.advanceTimersByTime(1000);
    expect(save).toHaveBeenCalledTimes(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("saves what is left when it is closed", () => {
    const save = vi.fn();
    const saver = createSaver(save, "it", pino({ enabled: false }));
    saver.changed();
    saver.changed();
    saver.close();
    expect(save).toHaveBeenCalledTimes(2);
    saver.close();
    expect(save).toHaveBeenCalledTimes(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("says that it cannot, and tries again with the next change", () => {
    const lines: string[] = [];
    const save = vi.fn(() => {
      throw new Error("no space left on device");
    });
    const saver = createSaver(
      save,
      "the health of backends",
      pino({}, { write: (line) => lines.push(line) }),
    );
    saver.changed();
    expect(lines.join()).toContain("cannot save the health of backends");
    vi.advanceTimersByTime(100);
    saver.changed();
    expect(save).toHaveBeenCalledTimes(2);
    saver.close();
  });
});
