import { expect, it } from "vitest";
import { isUnicast } from "./ranges.ts";

it.each<[string, boolean]>([
  ["0.0.0.0", false],
  ["0.255.255.255", false],
  ["1.0.0.0", true],
  ["10.0.1.3", true],
  ["126.255.255.255", true],
  ["127.0.0.1", false],
  ["128.0.0.0", true],
  ["169.254.169.254", true],
  ["223.255.255.255", true],
  ["224.0.0.1", false],
  ["239.255.255.255", false],
  ["240.0.0.0", true],
  ["255.255.255.254", true],
  ["255.255.255.255", false],
])("%s: a host may have it is %s", (address, is) => {
  expect(isUnicast(address)).toBe(is);
});
