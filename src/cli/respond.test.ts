import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { main } from "./main.ts";

let folder: string;
let said: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-respond-"));
  said = "";
  vi.spyOn(console, "error").mockImplementation((text) => {
    said += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const GOOD = ["--interface", "tap0", "--address", "169.254.169.254"];

describe("onlink respond", () => {
  it.each([
    [[], "--interface and --address are needed, or --config FILE"],
    [["--interface", "tap0"], "--interface and --address are needed"],
    [["--address", "169.254.169.254"], "--interface and --address are needed"],
    [["--interface", "tap0", "--address", "10.0.0.1"], "10.0.0.1 is not a link-local address"],
    [["--interface", "tap0", "--address", "169.254.0.1"], "169.254.0.1 is not a link-local address"],
    [["--interface", "tap0", "--address", "169.254.169.254/32"], "is not an IPv4 address"],
    [["--interface", "tap*", "--address", "169.254.169.254"], "patterns are for --config"],
    [[...GOOD, "--mac", "02-00-00-00-00-01"], "is not a MAC address"],
    [[...GOOD, "--mac", "01:00:5e:00:00:01"], "is a group address"],
    [[...GOOD, "--gateway", "10.0.1"], "is not an IPv4 address"],
    [[...GOOD, "--gateway", "169.254.169.254"], "169.254.169.254 cannot be a gateway"],
    [["--config", "x.yaml", "--interface", "tap0"], "--interface is not for --config"],
    [["--config", "x.yaml", "--gateway", "10.0.0.1"], "--gateway is not for --config"],
  ])("refuses %j with 2, and says why", async (args, message) => {
    expect(await main(["respond", ...args])).toBe(2);
    expect(said).toContain(message);
    expect(said.trimEnd().split("\n")).toHaveLength(1);
  });

  describe("on Windows", () => {
    const linux = process.platform;
    beforeEach(() => {
      Object.defineProperty(process, "platform", { value: "win32" });
      vi.resetModules();
      // What is Linux's alone must not even be loaded.
      vi.doMock("../linux/libc.ts", () => {
        throw new Error("loaded on Windows");
      });
    });
    afterEach(() => {
      Object.defineProperty(process, "platform", { value: linux });
      vi.doUnmock("../linux/libc.ts");
      vi.resetModules();
    });

    it("says that Npcap is missing", async () => {
      const { main } = await import("./main.ts");
      const device = ["--interface", "\\Device\\NPF_{01234567-89AB-CDEF-0123-456789ABCDEF}"];
      const args = [...device, "--address", "169.254.169.254", "--mac", "00:00:5e:00:01:00"];
      expect(await main(["respond", ...args])).toBe(1);
      expect(said).toMatch(/^onlink: cannot load libpcap: .*; install Npcap \(https:\/\/npcap\.com\)\n$/s);
    });

    it("wants the MAC, which it does not find by the adapter's name", async () => {
      const { main } = await import("./main.ts");
      expect(await main(["respond", ...GOOD])).toBe(1);
      expect(said).toContain("the MAC of tap0 is not known here; give the one that is to answer: --mac");
    });

    it("has as many interfaces as there are threads to wait for them", async () => {
      const { main } = await import("./main.ts");
      const four = ["a", "b", "c", "d"].flatMap((name) => ["--interface", name]);
      expect(await main(["respond", ...four, "--address", "169.254.169.254"])).toBe(2);
      expect(said).toContain("4 interfaces, at most 3 on this system; set UV_THREADPOOL_SIZE=5");
    });

    it("takes no patterns from a configuration", async () => {
      const { main } = await import("./main.ts");
      const file = join(folder, "onlink.yaml");
      writeFileSync(
        file,
        `services: [{ name: a, address: 169.254.1.1, port: 1, backends: ["127.0.0.1:1"] }]\ninterfaces: [{ name: "tap*" }]\n`,
      );
      expect(await main(["respond", "--config", file])).toBe(2);
      expect(said).toContain("interfaces by pattern (tap*) are followed on Linux alone");
    });
  });
});
