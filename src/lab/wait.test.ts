import { expect, test } from "vitest";
import { waitFor } from "./wait.ts";

test("looks until there is something to see", async () => {
  let looks = 0;
  expect(await waitFor("the third look", () => (++looks === 3 ? "seen" : undefined))).toBe("seen");
});

test("takes 0 and the empty string for an answer", async () => {
  expect(await waitFor("a number", () => 0)).toBe(0);
});

test("names what did not come", async () => {
  await expect(waitFor("the bus", () => false, 30)).rejects.toThrow("waited 30 ms in vain for the bus");
});
