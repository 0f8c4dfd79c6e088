import { expect, it } from "vitest";
import { GATEWAY_MAC } from "../packet/address.ts";
import { newClaims } from "./claims.ts";

it("remembers who claimed which address", () => {
  const claims = newClaims(10);
  claims.add("169.254.169.254", "02:00:00:00:00:01");
  expect(claims.has("169.254.169.254", "02:00:00:00:00:01")).toBe(true);
  expect(claims.has("169.254.169.253", "02:00:00:00:00:01")).toBe(false);
  expect(claims.has("169.254.169.254", "02:00:00:00:00:02")).toBe(false);
});

it("forgets the oldest of too many", () => {
  const claims = newClaims(2);
  for (const mac of ["a", "b", "a", "c"]) claims.add("169.254.169.254", mac);
  expect(["a", "b", "c"].map((mac) => claims.has("169.254.169.254", mac))).toEqual([true, false, true]);
});

it("does not let a guest pass off the datapath for a guest", () => {
  const claims = newClaims(2);
  claims.add("169.254.169.254", GATEWAY_MAC);
  expect(claims.has("169.254.169.254", GATEWAY_MAC)).toBe(false);
});
