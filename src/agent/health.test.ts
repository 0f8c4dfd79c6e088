import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { HealthCheck } from "../config/schema.ts";
import { createHealth } from "./health.ts";

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

function setUp() {
  const failing = new Map<string, string>();
  const checked: string[] = [];
  const changes: string[] = [];
  const health = createHealth(
    async ({ address }) => {
      checked.push(address);
      return failing.get(address);
    },
    (service) => changes.push(service),
  );
  return { failing, checked, changes, health };
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

  it("runs no more than so many checks at a time, and never two of one backend", async () => {
    let running = 0;
    let most = 0;
    const health = createHealth(
      () => {
        running += 1;
        most = Math.max(most, running);
        return new Promise((resolve) =>
          setTimeout(() => {
            running -= 1;
            resolve("slow");
          }, 3000),
        );
      },
      () => {},
    );
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
