import { expect, it } from "vitest";
import { newStanding } from "./standing.ts";

const SUBJECT = "arp 169.254.169.254";
const OTHER = { subject: SUBJECT, address: "169.254.169.254", mac: "02:00:00:00:00:08" } as const;
const S = 1_000_000;
const nobody = () => false;

it("holds the first request, and answers at once when nobody else did", () => {
  const standing = newStanding(true, nobody);
  expect(standing.onRequest(SUBJECT, 10)).toBe("hold");
  expect(standing.onHeld(SUBJECT, 10)).toBe("answer");
  expect(standing.onRequest(SUBJECT, 20)).toBe("answer");
});

it("leaves a request to whoever answered it, before or after it was seen", () => {
  const standing = newStanding(true, nobody);
  expect(standing.onRequest(SUBJECT, 10)).toBe("hold");
  standing.onElsewhere(OTHER, 11);
  expect(standing.leftTo(SUBJECT)).toBeUndefined();
  expect(standing.onHeld(SUBJECT, 10)).toBe("leave");
  expect(standing.leftTo(SUBJECT)).toEqual(OTHER);

  standing.onElsewhere(OTHER, 21);
  expect(standing.onRequest(SUBJECT, 20)).toBe("leave");
});

it("gives way as soon as somebody else answers, and comes back when nobody does", () => {
  const standing = newStanding(true, nobody);
  standing.onHeld(SUBJECT, 10);
  standing.onElsewhere(OTHER, 20);
  expect(standing.onRequest(SUBJECT, 19)).toBe("leave");
  expect(standing.onRequest(SUBJECT, 30)).toBe("hold");
  expect(standing.leftTo(SUBJECT)).toEqual(OTHER);
  expect(standing.onHeld(SUBJECT, 30)).toBe("answer");
  expect(standing.leftTo(SUBJECT)).toBeUndefined();
  expect(standing.onRequest(SUBJECT, 40)).toBe("answer");
});

it("does not take an answer of the future for one, as when the clock was set back", () => {
  const standing = newStanding(true, nobody);
  standing.onElsewhere(OTHER, 100 * S);
  expect(standing.onRequest(SUBJECT, 5 * S)).toBe("hold");
  expect(standing.onHeld(SUBJECT, 5 * S)).toBe("answer");
});

it("keeps subjects apart", () => {
  const standing = newStanding(true, nobody);
  standing.onElsewhere(OTHER, 11);
  expect(standing.onHeld("echo 169.254.169.254", 10)).toBe("answer");
  expect(standing.onHeld("arp 169.254.169.253", 10)).toBe("answer");
  expect(standing.onHeld(SUBJECT, 10)).toBe("leave");
});

it("always answers where others cannot be seen", () => {
  expect(newStanding(false, nobody).onRequest(SUBJECT, 10)).toBe("answer");
});

it("gives way to no guest, whose answers a bridge carries here", () => {
  const guests = new Set<string>();
  const standing = newStanding(true, ({ mac }) => guests.has(mac));
  expect(standing.onRequest(SUBJECT, 10)).toBe("hold");
  standing.onElsewhere(OTHER, 11);
  // That it came in from a guest may be seen later than that it went out here.
  guests.add(OTHER.mac);
  expect(standing.onHeld(SUBJECT, 10)).toBe("answer");
  expect(standing.leftTo(SUBJECT)).toBeUndefined();
});
