import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createNames, MAX_ADDRESSES } from "./names.ts";
import type { Answer } from "./resolver.ts";
import type { SavedNames } from "./saved-names.ts";

const NAME = "ns1.example";
const found = (ttl: number, ...addresses: string[]): Answer => ({ kind: "addresses", addresses, ttl });
const NONE: Answer = { kind: "none", reason: "there is no such name" };
const FAILED: Answer = { kind: "failed", reason: "no answer" };

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** `answers` are given one after the other, the last one for ever. */
function setUp(answers: Answer[], saved: SavedNames = new Map()) {
  const asked: string[] = [];
  const changes: string[] = [];
  const saves: SavedNames[] = [];
  const lines: string[] = [];
  const names = createNames({
    lookup: async (name) => {
      asked.push(name);
      return answers.length > 1 ? answers.shift()! : answers[0]!;
    },
    saved,
    save: (what) => saves.push(what),
    onChange: (name) => changes.push(name),
    log: pino({}, { write: (line) => lines.push(JSON.parse(line).msg) }),
  });
  names.follow([NAME]);
  return { names, asked, changes, saves, lines };
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("names", () => {
  it("says why a name that was never resolved has no addresses, and takes the first answer over", async () => {
    const { names, changes } = setUp([found(60, "192.0.2.2", "192.0.2.10", "192.0.2.2")]);
    expect(names.stateOf(NAME)).toEqual({ addresses: [], problem: "not looked up yet" });
    await pass(0);
    expect(names.stateOf(NAME)).toEqual({ addresses: ["192.0.2.2", "192.0.2.10"] });
    expect(changes).toEqual([NAME]);
  });

  it.each([
    [0, 5],
    [30, 30],
    [86_400, 900],
  ])("asks again after a TTL of %i s in %i s, and tells of changes alone", async (ttl, seconds) => {
    const { asked, changes } = setUp([found(ttl, "192.0.2.1")]);
    await pass(seconds * 1000 - 1);
    expect(asked.length).toBe(1);
    await pass(1);
    expect(asked.length).toBe(2);
    expect(changes.length).toBe(1);
  });

  it("keeps the addresses while there is no answer, and asks ever more slowly, up to a minute", async () => {
    const { names, asked, lines } = setUp([found(5, "192.0.2.1"), FAILED]);
    await pass(5000);
    expect(names.stateOf(NAME)).toEqual({ addresses: ["192.0.2.1"], problem: "no answer" });
    const waits = [0.5, 1, 2, 4, 8, 16, 30, 30];
    for (const [index, seconds] of waits.entries()) {
      await pass(seconds * 1000 - 1);
      expect(asked.length, `wait ${index}`).toBe(index + 2);
      await pass(1);
    }
    expect(names.stateOf(NAME).addresses).toEqual(["192.0.2.1"]);
    expect(lines).toEqual(["name resolved", "name not resolved"]);
  });

  it("takes it for an answer that there is no such name", async () => {
    const { names, changes } = setUp([found(5, "192.0.2.1"), NONE]);
    await pass(5000);
    expect(names.stateOf(NAME)).toEqual({ addresses: [], problem: "there is no such name" });
    expect(changes.length).toBe(2);
  });

  it("begins with what an earlier agent knew, and saves what changes", async () => {
    const saved = new Map([
      [NAME, ["192.0.2.7"]],
      ["former.example", ["192.0.2.8"]],
    ]);
    const { names, saves } = setUp([FAILED, FAILED, found(60, "192.0.2.9")], saved);
    expect(names.stateOf(NAME).addresses).toEqual(["192.0.2.7"]);
    await pass(500);
    expect(names.stateOf(NAME).addresses).toEqual(["192.0.2.7"]);
    expect(saves).toEqual([]);
    await pass(1000);
    expect(saves).toEqual([new Map([[NAME, ["192.0.2.9"]]])]);
    names.close();
    expect(saves.length).toBe(1);
  });

  it("has an answer saved before anybody uses it", async () => {
    const order: string[] = [];
    const names = createNames({
      lookup: async () => found(60, "192.0.2.9"),
      saved: new Map(),
      save: (saved) => order.push(`saved ${saved.get(NAME)}`),
      onChange: () => order.push("used"),
      log: pino({ enabled: false }),
    });
    names.follow([NAME]);
    await pass(0);
    expect(order).toEqual(["saved 192.0.2.9", "used"]);
    names.close();
  });

  it("goes on when the disk is full", async () => {
    const failing = createNames({
      lookup: async () => found(60, "192.0.2.9"),
      saved: new Map(),
      save: () => {
        throw new Error("no space left on device");
      },
      onChange: () => {},
      log: pino({ enabled: false }),
    });
    failing.follow([NAME]);
    await pass(2000);
    expect(failing.stateOf(NAME).addresses).toEqual(["192.0.2.9"]);
  });

  it("uses no more than so many addresses, the same ones whatever their order", async () => {
    const all = Array.from({ length: MAX_ADDRESSES + 5 }, (_, index) => `192.0.2.${index + 1}`);
    const { names, changes } = setUp([found(5, ...all), found(5, ...all.toReversed())]);
    await pass(5000);
    expect(names.stateOf(NAME).addresses).toEqual(all.slice(0, MAX_ADDRESSES));
    expect(changes.length).toBe(1);
  });

  it("asks no more for a name that is not followed, nor hears an answer under way", async () => {
    const { names, asked, changes } = setUp([found(5, "192.0.2.1")]);
    names.follow([]);
    await pass(60_000);
    expect(asked.length).toBeLessThanOrEqual(1);
    expect(changes).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("asks for many names no more than so many at a time, and gives up those under way when it is closed", async () => {
    const signals: AbortSignal[] = [];
    const names = createNames({
      lookup: (_, signal) => {
        signals.push(signal);
        return new Promise((resolve) => signal.addEventListener("abort", () => resolve(FAILED)));
      },
      saved: new Map(),
      save: () => {},
      onChange: () => {},
      log: pino({ enabled: false }),
    });
    names.follow(Array.from({ length: 1000 }, (_, index) => `n${index}.example`));
    await pass(0);
    expect(signals.length).toBe(64);
    names.close();
    await pass(60_000);
    expect(signals.length).toBe(64);
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
  });
});
