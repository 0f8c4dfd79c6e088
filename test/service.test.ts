/** The agent as a service of systemd: its units, what it may do under them, and what it tells the service manager. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, ONLINK, writeConfig } from "./support/agent.ts";
import { output, requestFrom, shell } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";
import { NOTIFY, startServiceManager } from "./support/service-manager.ts";

const packaged = (name: string) =>
  readFile(fileURLToPath(new URL(`../packaging/${name}`, import.meta.url)), "utf8");
const UNITS = "/run/units";
const SERVICE = `${UNITS}/onlink.service`;
const MOUNT = "run-onlink-bpf.mount";

let lab: Lab;
let guest: Guest;
let unit: string;

beforeAll(async () => {
  lab = await openLab();
  guest = await lab.addGuest(WEB);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  unit = await packaged("onlink.service");
  await mkdir(lab.root + UNITS);
  // Nothing is installed here.
  await writeFile(lab.root + SERVICE, unit.replace("ExecStart=onlink", `ExecStart=${ONLINK}`));
  await writeFile(`${lab.root}${UNITS}/${MOUNT}`, await packaged(MOUNT));
});
afterAll(() => lab?.close());

/** The value of a setting that the unit has once. */
function setting(text: string, name: string): string {
  const values = [...text.matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map(([, value]) => value!);
  expect(values, name).toHaveLength(1);
  return values[0]!;
}

test("systemd finds nothing wrong with the units, and little that they leave open", async () => {
  const { code, stdout, stderr } = await lab.host.run([
    "systemd-analyze",
    "verify",
    SERVICE,
    `${UNITS}/${MOUNT}`,
  ]);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: "" });
  // It exits with 1 above the threshold, in tenths.
  await output(lab.host, ["systemd-analyze", "security", "--offline=true", "--threshold=30", SERVICE]);
});

test("the agent needs no more than the units give it, and tells the manager what it does", async () => {
  const mount = await packaged(MOUNT);
  const where = setting(mount, "Where");
  await shell(lab.host, `mkdir -p ${where}; mount -t bpf -o ${setting(mount, "Options")} bpf ${where}`);
  const manager = await startServiceManager(lab);
  const config = {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [{ name: "vif-*" }],
  };
  await writeConfig(lab, config);

  const capabilities = setting(unit, "CapabilityBoundingSet")
    .toLowerCase()
    .replaceAll("cap_", "+")
    .replaceAll(" ", ",");
  const limits = [`--bounding-set=-all,${capabilities}`, "--no-new-privs"];
  const agent = await lab.host.start(
    ["unshare", "--mount", "setpriv", ...limits, process.execPath, ONLINK, "run", "--config", CONFIG_FILE],
    { env: { ...NOTIFY, WATCHDOG_USEC: "200000" } },
  );
  await manager.waitForLine(/ STATUS=1 services, 1 interfaces$/);
  await manager.waitForLine(/ READY=1$/);
  await manager.waitForLine(/ WATCHDOG=1$/);
  expect((await requestFrom(guest, "http://169.254.169.254/")).peer).toBe("169.254.64.2");

  await writeConfig(lab, "services: [");
  agent.kill("SIGHUP");
  await manager.waitForLine(/ RELOADING=1 MONOTONIC_USEC=\d+$/);
  await manager.waitForLine(
    / STATUS=1 services, 1 interfaces; configuration refused: \/run\/onlink\.yaml:1:/,
  );
  await agent.stop();
  await manager.waitForLine(/ STOPPING=1$/);
  expect(manager.stdout().match(/ READY=1$/gm)).toHaveLength(2);
  expect((await requestFrom(guest, "http://169.254.169.254/")).peer).toBe("169.254.64.2");
});
