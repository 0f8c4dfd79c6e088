import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ONLINK = fileURLToPath(new URL("../bin/onlink", import.meta.url));

/** A demo at work, in a process group of its own as a shell gives it; `mark` is in the environment of all its processes. */
function startDemo(env: Record<string, string> = {}) {
  const mark = `ONLINK_TEST_MARK=${randomUUID()}`;
  const [name = "", value = ""] = mark.split("=");
  const child = spawn(ONLINK, ["demo"], {
    env: { ...process.env, [name]: value, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
    });
  }
  return { child, output, mark, ended: once(child, "close") };
}

/** The processes that have the mark in their environment, as "pid name". */
function processesWith(mark: string): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      return environment.includes(mark) ? [`${pid} ${readFileSync(`/proc/${pid}/comm`, "utf8").trim()}`] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** What onlink or the lab could leave on this machine; other tests that run meanwhile leave none of it. */
function traces(): string[] {
  const links = execFileSync("ip", ["-json", "link"], { encoding: "utf8" });
  const names = (JSON.parse(links) as Array<{ ifname: string }>).map(({ ifname }) => ifname);
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return [
    ...names.filter((name) => /^(vif-|onlink)/.test(name)),
    ...mounts.filter((mount) => /^lab |\/run\/(onlink|netns)/.test(mount)),
    ...["/run/demo.yaml", "/run/onlink", "/run/netns/linux", "/var/lib/onlink"].filter((path) =>
      existsSync(path),
    ),
  ];
}

describe("onlink demo", () => {
  test("shows the problem and its end within 20 s, and leaves nothing behind", async () => {
    const before = traces();
    const began = performance.now();
    const { output, mark, ended } = startDemo();
    const [code] = await ended;
    expect(performance.now() - began).toBeLessThan(20_000);
    expect({ code, stderr: output.stderr }).toEqual({ code: 0, stderr: "" });

    const [without = "", withOnlink = ""] = output.stdout.split("2. With onlink");
    expect(without).toContain("10.0.1.0/24 dev eth0 proto kernel scope link src 10.0.1.3\n");
    expect(without).toContain("10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.10\n");
    expect(without).toMatch(/on-link guest.*timed out.*169\.254\.169\.254 dev eth0 FAILED\n/s);
    expect(without).not.toContain("status 200");
    expect(withOnlink.match(/^ {2}status 200, .* 169\.254\.64\.[23]$/gm)).toHaveLength(2);
    expect(withOnlink).toContain("169.254.169.254 dev eth0 lladdr 00:00:5e:00:01:00 REACHABLE\n");
    expect(output.stdout).not.toContain("\u001b");
    for (const line of output.stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
    expect(processesWith(mark)).toEqual([]);
    expect(traces()).toEqual(before);
  });

  test.each([
    ["the command alone", "SIGINT", 130, (pid: number) => pid],
    ["the whole group, as Ctrl-C does", "SIGINT", 130, (pid: number) => -pid],
    ["the command alone", "SIGTERM", 143, (pid: number) => pid],
  ] as const)(
    "interrupted (%s, %s): says so and leaves nothing behind",
    async (_whom, signal, exitCode, target) => {
      const before = traces();
      const { child, output, mark, ended } = startDemo();
      while (!output.stdout.includes("1. Without onlink")) await once(child.stdout, "data");
      expect(processesWith(mark).length).toBeGreaterThan(3);
      process.kill(target(child.pid!), signal);
      expect((await ended)[0]).toBe(exitCode);
      expect(output.stderr).toBe("onlink: interrupted; everything that was made is gone again\n");
      expect(output.stdout).not.toContain("2. With onlink");
      expect(processesWith(mark)).toEqual([]);
      expect(traces()).toEqual(before);
    },
  );

  test.each([
    ["nobody", ["--reuid=65534", "--regid=65534", "--clear-groups"], /it needs root, .* run it with sudo/],
    [
      "root without a capability",
      ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
      /capabilities missing: CAP_SYS_ADMIN, .* run it on the host/,
    ],
  ])("as %s: says why it simulates, and does", (_whom, become, reason) => {
    const text = execFileSync("setpriv", [...become, process.execPath, ONLINK, "demo"], { encoding: "utf8" });
    const [why = "", ...story] = text.split("\n\n");
    expect(why).toMatch(/^The demo cannot run for real here, so it is simulated:\n {2}/);
    expect(why).toMatch(reason);
    expectSimulation(story.join("\n\n"));
  });

  test("--simulate: simulates where the real one could run, and says nothing of why", () => {
    const text = execFileSync(process.execPath, [ONLINK, "demo", "--simulate"], { encoding: "utf8" });
    expect(text).toMatch(/^Simulated: /);
    expectSimulation(text);
  });

  test("without its native library and without the compiled datapath: simulates", async () => {
    const folder = await mkdtemp(join(tmpdir(), "onlink-demo-"));
    try {
      const root = fileURLToPath(new URL("../", import.meta.url));
      for (const name of ["bin", "dist", "package.json"])
        await cp(root + name, join(folder, name), { recursive: true });
      await mkdir(join(folder, "node_modules"));
      for (const name of ["commander", "yaml", "zod"])
        await symlink(await realpath(`${root}node_modules/${name}`), join(folder, "node_modules", name));
      const run = (...args: string[]) =>
        execFileSync(process.execPath, [join(folder, "bin/onlink"), "demo", ...args], { encoding: "utf8" });
      expectSimulation(run("--simulate"));
      expect(run()).toMatch(
        /simulated:\n {2}what it needs cannot be loaded: .*'koffi'.*; put it there with: make build\n\nSimulated: /,
      );

      for (const name of ["koffi", "@koromix"])
        await symlink(await realpath(`${root}node_modules/${name}`), join(folder, "node_modules", name));
      await rm(join(folder, "dist/onlink.bpf.o"));
      expect(run()).toMatch(/simulated:\n {2}\w+: .*onlink\.bpf\.o.*\n\nSimulated: /);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** That a text is the whole story as simulated, with its end. */
function expectSimulation(text: string): void {
  const [without = "", withOnlink = ""] = text.split("2. With onlink");
  expect(without).toMatch(/^169\.254\.169\.254 +00-00-00-00-00-00 {2}Unreachable$/m);
  expect(withOnlink).toMatch(/^169\.254\.169\.254 +00-00-5e-00-01-00 {2}Reachable$/m);
  expect(withOnlink.match(/^ {2}status 200, /gm)).toHaveLength(2);
  expect(text).toMatch(/As it should be, in the simulation: .*\n$/);
}
