import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { main } from "./main.ts";

let folder: string;
let output: { out: string; err: string };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onlink-cli-"));
  output = { out: "", err: "" };
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    output.out += text;
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    output.err += text;
    return true;
  });
  vi.spyOn(console, "log").mockImplementation((text) => {
    output.out += `${text}\n`;
  });
  vi.spyOn(console, "error").mockImplementation((text) => {
    output.err += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

describe("the command line", () => {
  it.each(["run", "check", "status", "events", "down", "workaround", "demo"])(
    "explains %s with examples and exit status",
    async (name) => {
      expect(await main([name, "--help"])).toBe(0);
      expect(output.out).toContain(`Examples:\n  onlink ${name}`);
      expect(output.out).toContain("Exit status:\n  0  done");
    },
  );

  it.each([[["frobnicate"]], [["run", "--frobnicate"]], [["run", "--config"]], [[]]])(
    "refuses %j with 2",
    async (args) => {
      expect(await main(args)).toBe(2);
      expect(output.err).not.toBe("");
    },
  );

  it("prints every error of the configuration on a line of its own, and touches nothing", async () => {
    const file = join(folder, "onlink.yaml");
    const runtimeDir = join(folder, "run");
    writeFileSync(
      file,
      `services:\n  - { name: a, address: 10.0.0.1, port: 70000, backends: ["127.0.0.1:1"] }\ninterfaces: [{ name: "tap*" }]\nagent: { runtimeDir: ${runtimeDir}, stateDir: ${runtimeDir} }\n`,
    );
    expect(await main(["run", "--config", file])).toBe(2);
    const lines = output.err.trimEnd().split("\n");
    expect(lines.length).toBe(2);
    for (const line of lines) expect(line).toMatch(/onlink\.yaml:2:\d+: services\[0\]\./);
    expect(() => rmSync(runtimeDir)).toThrow("ENOENT");
  });

  it("names the file that it cannot read", async () => {
    const file = join(folder, "nothing.yaml");
    expect(await main(["run", "--config", file])).toBe(2);
    expect(output.err).toContain(`${file}: cannot be read`);
  });

  it.each(["status", "events"])(
    "says for %s that no agent answers, and whether the datapath is there without it",
    async (name) => {
      const socket = join(folder, "onlink.sock");
      expect(await main([name, "--socket", socket])).toBe(3);
      expect(output.err).toBe(`onlink: no agent answers on ${socket}; start one with: onlink run\n`);

      output.err = "";
      mkdirSync(join(folder, "bpf", "links"), { recursive: true });
      expect(await main([name, "--socket", socket])).toBe(3);
      expect(output.err).toContain(`the datapath in ${folder} is in place and goes on working`);
      expect(output.err.split("\n").length).toBe(2);
    },
  );

  it("wants --follow where flows are asked for, which are reported only from then on", async () => {
    expect(await main(["events", "--flows"])).toBe(2);
    expect(output.err).toContain("--flows needs --follow");
  });

  it.each([
    [["--to", "169.254.169.254", "--gateway", "10.0.0.1"], /--for <target>' not specified/],
    [["--to", "169.254.169.254", "--for", "linux"], /--gateway <address>' not specified/],
    [
      ["--to", "169.254.169.254", "--gateway", "10.0.0.1", "--for", "lunix"],
      /choices are windows, powershell, linux/,
    ],
    [
      ["--to", "8.8.8.8", "--gateway", "10.0.0.1", "--for", "linux"],
      /8\.8\.8\.8 is not in 169\.254\.0\.0\/16/,
    ],
    [
      ["--to", "169.254.169.254", "--gateway", "10.0.0.1", "--for", "netplan"],
      /give the guest's \(--interface eth0\)/,
    ],
  ])("refuses workaround %j with 2, and says what to give", async (args, message) => {
    expect(await main(["workaround", ...args])).toBe(2);
    expect(output.err).toMatch(message);
    expect(output.out).toBe("");
  });

  it("prints a workaround whole, several addresses in one go", async () => {
    const args = ["--to", "169.254.169.254", "169.254.169.253", "--gateway", "10.0.0.1", "--for", "windows"];
    expect(await main(["workaround", ...args])).toBe(0);
    expect(output.out.match(/^route add /gm)).toHaveLength(2);
  });

  it("shows where an error comes from only when asked", async () => {
    const args = ["status", "--socket", join(folder, "onlink.sock")];
    await main(args);
    expect(output.err).not.toContain("    at ");
    await main([...args, "-v"]);
    expect(output.err).toContain("    at ");
    output.err = "";
    vi.stubEnv("ONLINK_DEBUG", "1");
    await main(args);
    expect(output.err).toContain("    at ");
  });
});
