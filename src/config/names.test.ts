import { describe, expect, test } from "vitest";
import { devicePeer, isDeviceName, isInterfaceName, isInterfacePattern } from "./names.ts";

describe("names that Linux takes for an interface", () => {
  test.each([
    ["eth0", true],
    ["br-4f2a.100", true],
    ["a23456789012345", true],
    ["a234567890123456", false],
    // Counted in bytes: 8 letters of 2 bytes each.
    ["\u00e4".repeat(8), false],
    ["", false],
    [".", false],
    ["..", false],
    ["a/b", false],
    ["a:b", false],
    ["a b", false],
    ["a\0", false],
  ])("%j: %s", (name, fits) => {
    expect(isInterfaceName(name)).toBe(fits);
  });
});

describe("patterns that some interface could fit", () => {
  test.each([
    ["*", true],
    ["*a23456789012345*", true],
    ["?23456789012345", true],
    ["?234567890123456", false],
    ["a/*", false],
    ["eth0", false],
  ])("%j: %s", (name, fits) => {
    expect(isInterfacePattern(name)).toBe(fits);
  });
});

describe("names for the agent's device", () => {
  test.each([
    ["onlink0", true],
    ["a2345678901234", true],
    ["a23456789012345", false],
    ["onlink%d", false],
    ["onlink*", false],
    ["lo", false],
    ["all", false],
    ["default", false],
    ["", false],
  ])("%j: %s", (name, fits) => {
    expect(isDeviceName(name)).toBe(fits);
  });

  test("the peer has one character more", () => {
    expect(devicePeer("onlink0")).toBe("onlink0p");
  });
});
