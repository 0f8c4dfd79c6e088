import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { main } from "./main.ts";

let said: string;
beforeEach(() => {
  said = "";
  vi.spyOn(console, "error").mockImplementation((text) => {
    said += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  [["--count", "0"], '--count: "0" is not a number of packets'],
  [["--count", "many"], '--count: "many" is not a number of packets'],
  [["--duration", "10"], '--duration: "10" is not a duration, such as 500ms, 10s'],
  [["--duration", "0s"], '--duration: "0s" is not a duration'],
  [["--duration", "1000h"], '--duration: "1000h" is not a duration'],
  [["--address", "metadata"], '--address: "metadata" is not an IPv4 address'],
])("refuses %j with 2, and says why", async (args, message) => {
  expect(await main(["capture", "tap0", ...args])).toBe(2);
  expect(said).toContain(`onlink capture: ${message}`);
});

it("says how to do without an agent", async () => {
  const socket = join(tmpdir(), "no-such-folder", "onlink.sock");
  expect(await main(["capture", "tap0", "--socket", socket])).toBe(3);
  expect(said).toContain(`no agent answers on ${socket}`);
  expect(said).toContain("or give the service addresses: onlink capture INTERFACE --address ADDRESS");
});
