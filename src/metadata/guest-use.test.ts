import { expect, test } from "vitest";
import { admit, charge, isInDebt, isSameGuest, newGuestUse } from "./guest-use.ts";
import type { GuestIdentity } from "./types.ts";

const limits = { requestsPerSecond: 10 };
const guest: GuestIdentity = {
  interface: "tap0",
  ifindex: 7,
  metadataAddress: "169.254.64.2",
  addresses: [],
  mac: "02:00:0a:00:01:03",
};

test("a guest may make a second's requests at once, and then as many as time allows", () => {
  const use = newGuestUse(guest, limits.requestsPerSecond);
  const made = (now: number) =>
    Array.from({ length: 20 }, () => admit(use, limits, now)).filter(Boolean).length;
  expect(made(1000)).toBe(10);
  expect(made(1500)).toBe(5);
  expect(made(60_000)).toBe(10);
});

test("what is no request brings a guest into debt, of a second at most", () => {
  const use = newGuestUse(guest, limits.requestsPerSecond);
  for (let count = 0; count < 1000; count++) charge(use, limits, 1000);
  expect(isInDebt(use, limits, 1900)).toBe(true);
  expect(isInDebt(use, limits, 2000)).toBe(false);
  expect(admit(use, limits, 2000)).toBe(false);
  expect(admit(use, limits, 2100)).toBe(true);
});

test("requests alone bring nobody into debt", () => {
  const use = newGuestUse(guest, limits.requestsPerSecond);
  for (let count = 0; count < 1000; count++) admit(use, limits, 1000);
  expect(isInDebt(use, limits, 1000)).toBe(false);
});

test("the next guest on an interface of the same name is another one, an instance with a new interface the same", () => {
  expect(isSameGuest(guest, { ...guest })).toBe(true);
  expect(isSameGuest(guest, { ...guest, ifindex: 8 })).toBe(false);
  expect(isSameGuest(guest, { ...guest, mac: undefined })).toBe(false);
  expect(isSameGuest(guest, undefined)).toBe(false);
  const instance = { ...guest, instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11" };
  expect(isSameGuest(instance, { ...instance, ifindex: 8 })).toBe(true);
  expect(isSameGuest(instance, guest)).toBe(false);
});
