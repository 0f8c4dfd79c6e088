import { expect, test } from "vitest";
import { arpRequest } from "./build.ts";
import { windowsArpRequest } from "./fixtures.ts";
import { toHex } from "./hex.ts";

test("the ARP request of Windows Server 2022, byte for byte", () => {
  expect(toHex(windowsArpRequest())).toBe(
    "ffffffffffff022187a4050c08060001080006040001022187a4050cac1f0007000000000000a9fea9fe",
  );
  expect(windowsArpRequest()).toHaveLength(42);
});

test("the builder makes the same frame", () => {
  const built = arpRequest({
    senderMac: "02:21:87:a4:05:0c",
    senderAddress: "172.31.0.7",
    targetAddress: "169.254.169.254",
  });
  expect(toHex(built)).toBe(toHex(windowsArpRequest()));
});

test("each call gives a copy of its own", () => {
  windowsArpRequest().fill(0);
  expect(windowsArpRequest()[0]).toBe(0xff);
});
