import { expect, test } from "vitest";
import { admit, charge, isInDebt, isSameGuest, newGuestUse, toGiveWay } from "./guest-use.ts";
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

/** Guests with connections that are idle since these times; undefined: not idle. */
function connectionsOf(...guests: Array<Array<number | undefined>>) {
  return guests.map((times) => {
    const use = { ...newGuestUse(guest, 1), connections: times.length };
    return { use, connections: times.map((since) => ({ use, since, idleSince: () => since })) };
  });
}

test("where there are too many connections, the one goes that was idle the longest of a guest that has the most", () => {
  const guests = connectionsOf([1, 2], [5, 4, 6], [undefined, 7, 8]);
  const all = guests.flatMap(({ connections }) => connections);
  expect(toGiveWay(all, newGuestUse(guest, 1))?.since).toBe(4);
  // With its new one, this guest has as many as the others.
  expect(toGiveWay(all, guests[0]!.use)?.since).toBe(1);
  expect(toGiveWay(all, guests[1]!.use)?.since).toBe(4);
  expect(toGiveWay(all, guests[2]!.use)?.since).toBe(7);
});

test("where the guest that has the most has none that is idle, another one's goes, and none for a guest that has as many", () => {
  const [busy, idle] = connectionsOf([undefined, undefined], [3]);
  const all = [...busy!.connections, ...idle!.connections];
  expect(toGiveWay(all, newGuestUse(guest, 1))?.since).toBe(3);
  expect(toGiveWay(all, busy!.use)).toBeUndefined();
  expect(toGiveWay(busy!.connections, newGuestUse(guest, 1))).toBeUndefined();
});
