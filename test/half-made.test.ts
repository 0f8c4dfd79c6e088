/** Starts that are killed at any point, of this version and of another: the next one puts all right, and so does `onlink down`. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, ONLINK, onlink, writeConfig } from "./support/agent.ts";
import { requestFrom } from "./support/commands.ts";
import { startDownload } from "./support/download.ts";
import { WEB } from "./support/guest.ts";
import { buildOtherVersion, type OtherVersion } from "./support/other-version.ts";
import { hostState } from "./support/traces.ts";

const KILL_AT_STEP = fileURLToPath(new URL("support/kill-at-step.mjs", import.meta.url));
const URLS = ["http://169.254.169.254", "http://169.254.169.253"];
/** How many points of a start are tried at least, spread over it; which ones is up to chance. */
const POINTS = 4;

let other: OtherVersion;
let lab: Lab;
let fabric: Fabric;
let guest: Guest;
let before: Record<string, string>;

beforeAll(async () => {
  other = buildOtherVersion();
  lab = await openLab();
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guest = await lab.addGuest(WEB);
  await lab.host.run(["/bin/sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"]);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
  await writeConfig(lab, {
    services: [
      { name: "local", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] },
      { name: "fabric", address: "169.254.169.253", port: 80, backends: ["192.0.2.10:8080"] },
    ],
    interfaces: [{ name: "vif-*" }],
  });
  before = await hostState(lab);
});
afterAll(async () => {
  await lab?.close();
  other?.[Symbol.dispose]();
});

function run(command: string, env: Record<string, string> = {}): Promise<LabProcess> {
  const argv = [process.execPath, "--import", KILL_AT_STEP, command, "run", "--config", CONFIG_FILE];
  return lab.host.start(argv, { env });
}

/** A whole start and a regular end; how many steps it had, and at which of them folders of maps changed places. */
async function startAndStop(command: string): Promise<{ steps: number; swaps: number[] }> {
  const agent = await run(command);
  await agent.waitForLine(/"msg":"ready"/);
  await agent.stop();
  return JSON.parse(agent.stderr().trim().split("\n").at(-1)!);
}

/** What an earlier start has done is no step of this one any more: where it comes to its end before, it is killed there. */
async function startKilled(command: string, step: number): Promise<void> {
  const agent = await run(command, { KILL_AT_STEP: String(step) });
  await agent.waitForLine(/"msg":"ready"/).catch(() => {});
  const { signal } = await agent.stop("SIGKILL");
  expect(signal, `step ${step}: ${agent.stderr()}`).toBe("SIGKILL");
}

async function down(): Promise<void> {
  const { code, stderr } = await onlink(lab, "down", "--config", CONFIG_FILE);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
}

async function expectService(): Promise<void> {
  for (const url of URLS) await requestFrom(guest, url);
}

/** Points of a start with so many steps. */
function points(steps: number): number[] {
  const width = steps / POINTS;
  return Array.from({ length: POINTS }, (_, i) => 1 + Math.floor(width * (i + Math.random())));
}

test("a first start that is killed: down leaves nothing, and another start works", async () => {
  const { steps } = await startAndStop(ONLINK);
  await down();
  expect(await hostState(lab)).toEqual(before);
  for (const [index, step] of points(steps - 5).entries()) {
    await startKilled(ONLINK, step);
    if (index % 2 === 1) {
      await startAndStop(ONLINK);
      await expectService();
    }
    await down();
    expect(await hostState(lab), `after step ${step}`).toEqual(before);
  }
});

test("the start of another version that is killed: services and connections go on, and the next start ends it", async () => {
  await startAndStop(ONLINK);
  const downloads = await Promise.all(URLS.map((url) => startDownload(lab, guest, url)));
  const expectAllGoesOn = async (step: number) => {
    await expectService();
    const sizes = downloads.map(({ size }) => size());
    const goOn = () => downloads.every(({ size }, index) => size() > sizes[index]!);
    await waitFor(`the downloads to go on after step ${step}`, goOn);
  };
  const { steps, swaps } = await startAndStop(other.onlink);
  expect(swaps).toHaveLength(2);
  // Before and between the two renames, and after them, where programs change over; then anywhere.
  for (const step of [...swaps, swaps[1]! + 1, ...points(steps - 5)]) {
    await startAndStop(ONLINK);
    await startKilled(other.onlink, step);
    await expectAllGoesOn(step);
  }
  await startAndStop(ONLINK);
  const { stdout } = await lab.host.run(["ls", "/run/onlink/bpf"]);
  expect(stdout.split("\n")).not.toContain(expect.stringMatching(/next|former/));
  for (const download of downloads) await download.finish();
  await down();
  await lab.host.run(["rm", "/run/169.254.169.253", "/run/169.254.169.254"]);
  expect(await hostState(lab)).toEqual(before);
});
