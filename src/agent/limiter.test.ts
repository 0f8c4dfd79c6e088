import fc from "fast-check";
import { expect, it } from "vitest";
import { createLimiter } from "./limiter.ts";

it("runs every task, no more than so many at a time, in their order, whether they fail or not", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ ticks: fc.nat(3), fails: fc.boolean() }), { maxLength: 20 }),
      async (most, tasks) => {
        const limit = createLimiter(most);
        const started: number[] = [];
        let running = 0;
        const results = await Promise.allSettled(
          tasks.map(({ ticks, fails }, index) =>
            limit(async () => {
              started.push(index);
              running += 1;
              expect(running).toBeLessThanOrEqual(most);
              for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
              running -= 1;
              if (fails) throw new Error("as asked");
              return index;
            }),
          ),
        );
        expect(started).toEqual(tasks.map((_, index) => index));
        expect(results).toEqual(
          tasks.map(({ fails }, value) =>
            fails ? { status: "rejected", reason: new Error("as asked") } : { status: "fulfilled", value },
          ),
        );
      },
    ),
  );
});
