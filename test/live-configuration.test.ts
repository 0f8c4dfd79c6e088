/** Changes of the configuration while the agent runs. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { FlowStatus } from "../src/agent/flows.ts";
import { fetchStatus } from "../src/api/client.ts";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, onlink, startAgent, writeConfig } from "./support/agent.ts";
import { arping, hashOfBytes, ping, requestFrom } from "./support/commands.ts";

const LOCAL = "127.0.0.1:8080";
const FAR = "192.0.2.10:8080";
const KEPT = { name: "kept", address: "169.254.169.254", port: 80, backends: [LOCAL] };
const OTHER = { name: "other", address: "169.254.169.253", port: 80, backends: [LOCAL] };

let lab: Lab;
let guest: Guest;
let agent: LabProcess;

/** Asked for often, so not by the command. */
const status = () => fetchStatus(`${lab.root}/run/onlink/onlink.sock`);
const configOf = (...services: object[]) => ({ services, interfaces: [{ name: "vif-*" }] });

beforeAll(async () => {
  lab = await openLab();
  const fabric = await lab.addFabric({
    name: "fab0",
    hostAddress: "192.0.2.1/24",
    address: "192.0.2.10/24",
  });
  [guest] = (await lab.addGuests([
    { name: "web", link: "veth", behaviour: "on-link", address: "10.0.1.3/24", gateway: "10.0.1.1" },
  ])) as [Guest];
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
  agent = await startAgent(lab, configOf(KEPT));
});
afterAll(() => lab?.close());
beforeEach(({ onTestFailed }) => onTestFailed(() => console.log(agent.stdout())));

/** Puts a file in the place of the configuration, as editors and configuration management do. */
async function replaceConfig(config: object | string): Promise<void> {
  await writeConfig(lab, config, "/run/new.yaml");
  await rename(`${lab.root}/run/new.yaml`, lab.root + CONFIG_FILE);
}

/** Changes the configuration, and waits until the agent has taken it over. */
async function change(config: object): Promise<void> {
  const { loaded } = (await status()).configuration;
  await replaceConfig(config);
  await waitFor("the change to be taken over", async () => {
    const { configuration } = await status();
    return configuration.loaded !== loaded && configuration.errors === undefined;
  });
}

/** The errors in the status, once there are some that match. */
function errorsLike(pattern: RegExp): Promise<string[]> {
  return waitFor(`an error like ${pattern}`, async () => {
    const { errors } = (await status()).configuration;
    return errors?.some((error) => pattern.test(error)) && errors;
  });
}

/** A download that lasts until it is stopped or cut off, into a file of this name. */
async function startDownload(name: string, { address, port }: { address: string; port: number }) {
  const argv = ["curl", "-sS", "--limit-rate", "10M", "-o", `/run/${name}`];
  const curl = await guest.start([...argv, `http://${address}:${port}/bytes/1000000000000`]);
  const file = `${lab.root}/run/${name}`;
  const size = () => (existsSync(file) ? statSync(file).size : 0);
  return {
    curl,
    async goesOn() {
      const before = size();
      await waitFor(`${name} to go on`, () => size() > before);
    },
    isWhole: () => createHash("sha256").update(readFileSync(file)).digest("hex") === hashOfBytes(size()),
  };
}

const url = ({ address, port }: { address: string; port: number }) => `http://${address}:${port}/`;
/** curl's exit status where a connection is refused, and where it ends, by a RST. */
const REFUSED = 7;
const CUT_OFF = 56;
async function connect(service: { address: string; port: number }): Promise<number | null> {
  return (await guest.run(["curl", "-sS", "-m", "5", "-o", "/dev/null", url(service)])).code;
}

test("services come, change and go, and an untouched one sees nothing of it", async () => {
  const download = await startDownload("untouched", KEPT);
  await download.goesOn();
  await change(configOf(KEPT, OTHER));
  expect((await requestFrom(guest, url(OTHER))).peer).toBe("169.254.64.2");
  await change(configOf({ ...OTHER, backends: [FAR] }, KEPT));
  expect((await requestFrom(guest, url(OTHER))).peer).toBe("192.0.2.1");
  await change({ ...configOf(KEPT, { ...OTHER, drain: "0s" }), limits: { flows: 100 } });
  expect((await status()).flows.limit).toBe(100);
  await change(configOf(KEPT));
  expect((await status()).draining).toEqual([]);
  expect(await arping(guest, OTHER.address)).toBeUndefined();
  await download.goesOn();
  await download.curl.stop();
  expect(download.isWhole()).toBe(true);
  expect(agent.stdout()).toContain('"services":{"added":["other"],"changed":[],"removed":[]}');
});

test("a bad file changes nothing and is told, until it is right again", async () => {
  await replaceConfig("services: [");
  expect(await errorsLike(/^\/run\/onlink\.yaml:1:\d+: not YAML/)).toHaveLength(1);
  await agent.waitForLine(/"error":"\/run\/onlink\.yaml:1:\d+: not YAML.*"msg":"configuration refused/);
  await replaceConfig({
    ...configOf(OTHER, KEPT),
    agent: { device: "onlink9" },
    fabric: { ports: [50000, 50999] },
  });
  expect(await errorsLike(/needs a restart/)).toEqual([
    'agent.device: a change from "onlink0" to "onlink9" needs a restart of the agent',
    "fabric.ports: a change from [61000,65535] to [50000,50999] needs a restart of the agent",
  ]);
  await rm(lab.root + CONFIG_FILE);
  await errorsLike(/cannot be read: ENOENT/);
  const shown = await onlink(lab, "status");
  expect(shown.stdout).toMatch(/^not ok: [\s\S]*\/run\/onlink\.yaml: cannot be read: ENOENT/);
  expect((await status()).services.map(({ name }) => name)).toEqual(["kept"]);
  expect((await requestFrom(guest, url(KEPT))).peer).toBe("169.254.64.2");
  await change(configOf(KEPT));
});

test("SIGHUP has the file read", async () => {
  agent.kill("SIGHUP");
  await agent.waitForLine(/"msg":"reading the configuration again"/);
  expect((await requestFrom(guest, url(KEPT))).peer).toBe("169.254.64.2");
});

test("a removed service opens no flows; those that it has go on until its drain ends, restarts or not", async () => {
  const beside = { ...KEPT, name: "beside", port: 81, drain: "1h" };
  const alone = { ...OTHER, name: "alone", drain: "1h" };
  await change(configOf(KEPT, beside, alone));
  const downloads = await Promise.all([startDownload("beside", beside), startDownload("alone", alone)]);
  const goOn = () => Promise.all(downloads.map((one) => one.goesOn()));
  const drainingPorts = async () => (await status()).draining.map(({ port }) => port).sort();
  await goOn();

  await change(configOf(KEPT));
  expect(await drainingPorts()).toEqual([80, 81]);
  expect(await connect(beside)).toBe(REFUSED);
  expect(await connect(alone)).toBe(REFUSED);
  await goOn();
  await agent.stop("SIGKILL");
  agent = await startAgent(lab, configOf(KEPT));
  expect(await drainingPorts()).toEqual([80, 81]);
  expect(await connect(beside)).toBe(REFUSED);
  await goOn();

  await change(configOf(KEPT, { ...beside, drain: "0s" }, { ...alone, drain: "1s" }));
  expect(await drainingPorts()).toEqual([]);
  expect((await requestFrom(guest, url(beside))).peer).toBe("169.254.64.2");
  await goOn();

  await change(configOf(KEPT));
  // The guest's next acknowledgement meets no flow, and the address is still one of ours.
  expect(await downloads[0].curl.ended).toMatchObject({ code: CUT_OFF });
  await waitFor("the address to go", async () => (await arping(guest, alone.address)) === undefined);
  expect(await drainingPorts()).toEqual([]);
  await downloads[1].curl.stop();
});

test("a flow that the host opened ends with the service address that it comes from", async () => {
  const hostFlows = async () =>
    (await onlink(lab, "flows", "--config", CONFIG_FILE, "--json")).stdout
      .split("\n")
      .flatMap((line) => (line === "" ? [] : (JSON.parse(line) as FlowStatus)))
      .filter(({ opener }) => opener === "host")
      .map(({ service }) => service);
  // The first service's address is the one that the host's flows come from.
  await change(configOf({ ...OTHER, drain: "0s" }, KEPT));
  await requestFrom(guest, url(KEPT));
  await ping(lab.host, "169.254.64.2");
  expect(await hostFlows()).toContain(OTHER.address);
  await change(configOf(KEPT));
  expect(await hostFlows()).not.toContain(OTHER.address);
});
