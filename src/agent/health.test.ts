import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { HealthCheck } from "../config/schema.ts";
import { createHealth } from "./health.ts";
import type { UnhealthyBackend } from "./saved-health.ts";

const CHECK: HealthCheck = {
  type: "tcp",
  interval: 1000,
  timeout: 500,
  unhealthyAfter: 3,
  healthyAfter: 2,
};
const A = { address: "192.0.2.1", port: 80 };
const B = { address: "192.0.2.2", port: 80 };
const WEB = { name: "web", healthCheck: CHECK };

beforeEach(() => {
  vi.useFakeTimers();
  // Checks begin in the middle of the interval, and follow each other exactly.
  vi.spyOn(Math, "random").mockReturnValue(0.5);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function setUp(saved: UnhealthyBackend[] = []) {
  const failing = new Map<string, string>();
  const checked: string[] = [];
  const changes: string[] = [];
  const saves: UnhealthyBackend[][] = [];
  const health = createHealth({
    checkOnce: async ({ address }) => {
      checked.push(address);
      return failing.get(address);
    },
    saved,
    save: (unhealthy) => saves.push(unhealthy),
    onChange: (service) => changes.push(service),
    log: pino({ enabled: false }),
  });
  return { failing, checked, changes, saves, health };
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("health", () => {
  it("is healthy from the start and until so many checks in a row have failed, and back after so many good ones", async () => {
    const { failing, changes, health } = setUp();
    health.follow(WEB, [A, B]);
    expect(health.stateOf("web", A)?.state).toBe("healthy");
    failing.set(A.address, "connection refused");
    await pass(2600);
    expect(health.stateOf("web", A)).toMatchObject({ state: "unhealthy", error: "connection refused" });
    expect(health.stateOf("web", A)?.since).toBe(new Date(Date.now() - 100).toISOString());
    expect(health.stateOf("web", B)).toMatchObject({ state: "healthy" });
    expect(changes).toEqual(["web"]);

    failing.set(A.address, "no answer");
    await pass(1000);
    expect(health.stateOf("web", A)).toMatchObject({ state: "unhealthy", error: "no answer" });
    failing.clear();
    await pass(1000);
    expect(health.stateOf("web", A)?.state).toBe("unhealthy");
    expect(health.stateOf("web", A)?.error).toBeUndefined();
    await pass(1000);
    expect(health.stateOf("web", A)?.state).toBe("healthy");
    expect(changes).toEqual(["web", "web"]);
  });

  it("counts checks in a row alone", async () => {
    const { failing, changes, health } = setUp();
    health.follow(WEB, [A]);
    for (let round = 0; round < 5; round++) {
      failing.set(A.address, "x");
      await pass(2000);
      expect(health.stateOf("web", A)).toMatchObject({ state: "healthy", error: "x" });
      failing.clear();
      await pass(1000);
    }
    expect(changes).toEqual([]);
  });

  it("checks what is followed and nothing else", async () => {
    const { checked, health } = setUp();
    health.follow(WEB, [A]);
    health.follow({ name: "unchecked", healthCheck: undefined }, [B]);
    await pass(3000);
    expect(checked).toEqual([A.address, A.address, A.address]);
    expect(health.stateOf("unchecked", B)).toBeUndefined();
    health.follow(WEB, [B]);
    expect(health.stateOf("web", A)).toBeUndefined();
    await pass(1000);
    expect(checked.slice(3)).toEqual([B.address]);
    health.keepOnly(new Set(["another"]));
    await pass(3000);
    expect(checked.length).toBe(4);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("keeps the state when the check itself is changed, and goes on as before when nothing is", async () => {
    const { failing, checked, health } = setUp();
    failing.set(A.address, "x");
    health.follow(WEB, [A]);
    await pass(2600);
    health.follow({ name: "web", healthCheck: { ...CHECK } }, [{ ...A }]);
    await pass(1000);
    expect(checked.length).toBe(4);
    health.follow({ name: "web", healthCheck: { ...CHECK, interval: 10_000 } }, [A]);
    expect(health.stateOf("web", A)?.state).toBe("unhealthy");
    await pass(4999);
    expect(checked.length).toBe(4);
    await pass(1);
    expect(checked.length).toBe(5);
  });

  it("keeps what is unhealthy over a restart, until the first check says otherwise", async () => {
    const first = setUp();
    first.health.follow(WEB, [A, B]);
    first.failing.set(A.address, "connection refused");
    await pass(2600);
    const since = first.health.stateOf("web", A)!.since;
    const unhealthy = { service: "web", backend: " 192.0.2.1:80", since, error: "connection refused" };
    expect(first.saves).toEqual([[unhealthy]]);
    first.health.close();

    const { failing, changes, saves, health } = setUp(first.saves[0]);
    const seldom = { name: "web", healthCheck: { ...CHECK, interval: 60_000 } };
    failing.set(A.address, "no answer");
    health.follow(seldom, [A, B]);
    expect(health.stateOf("web", A)).toEqual({ state: "unhealthy", since, error: "connection refused" });
    expect(health.stateOf("web", B)?.state).toBe("healthy");
    await pass(500);
    expect(health.stateOf("web", A)).toEqual({ state: "unhealthy", since, error: "no answer" });
    health.close();

    const third = setUp(first.saves[0]);
    third.health.follow(seldom, [A]);
    await pass(500);
    expect(third.health.stateOf("web", A)?.state).toBe("healthy");
    expect(third.changes).toEqual(["web"]);
    expect(third.saves).toEqual([[]]);
    // What was known before the start counts once.
    third.health.keepOnly(new Set());
    third.health.follow(seldom, [A]);
    expect(third.health.stateOf("web", A)?.state).toBe("healthy");
    third.health.close();
    expect([changes, saves]).toEqual([[], []]);
  });

  it("runs no more than so many checks at a time, and never two of one backend", async () => {
    let running = 0;
    let most = 0;
    const health = createHealth({
      checkOnce: () => {
        running += 1;
        most = Math.max(most, running);
        return new Promise((resolve) =>
          setTimeout(() => {
            running -= 1;
            resolve("slow");
          }, 3000),
        );
      },
      saved: [],
      save: () => {},
      onChange: () => {},
      log: pino({ enabled: false }),
    });
    health.follow(
      WEB,
      Array.from({ length: 300 }, (_, index) => ({ address: `192.0.2.${index}`, port: 80 })),
    );
    await pass(2000);
    expect(most).toBe(128);
    health.close();
    await pass(20_000);
    expect(running).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
