/** Interfaces registered with the running agent, by the command and by the API. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, interfaceIn, onlink, startAgent, statusOf } from "./support/agent.ts";
import { CURL, requestFrom } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const URL = "http://169.254.169.254/";
const config = {
  services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
  interfaces: [{ name: "other*" }],
};
const folder = () => `${lab.root}/var/lib/onlink/interfaces`;

let lab: Lab;
let agent: LabProcess;
beforeAll(async () => {
  lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  agent = await startAgent(lab, config);
});
afterAll(() => lab?.close());

/** `onlink interface ...`, with what it printed. */
async function command(...args: string[]) {
  const { code, stdout, stderr } = await onlink(lab, "interface", ...args, "--config", CONFIG_FILE);
  return { code, text: stdout + stderr };
}

async function addGuest() {
  return lab.addGuest({ ...WEB, gatewayOnHost: false });
}

test("a registration waits for its interface, which is a vif as soon as it is there, and over restarts", async () => {
  expect(await command("add", "vif-web", "--address", "10.0.1.3", "--gateway", "10.0.1.1")).toEqual({
    code: 0,
    text: "vif-web registered: waiting for the interface\n",
  });
  const guest = await addGuest();
  const { peer } = await requestFrom(guest, URL, "--retry", "9", "--retry-all-errors", "--retry-delay", "0");
  const shown = await command("show", "vif-web", "--json");
  expect(JSON.parse(shown.text)).toMatchObject({
    interface: { name: "vif-web", state: "attached", metadataAddress: peer },
    registration: { addresses: ["10.0.1.3"], gateway: { address: "10.0.1.1", answerArp: false } },
  });

  await agent.stop();
  agent = await startAgent(lab, config);
  expect((await requestFrom(guest, URL)).peer).toBe(peer);
  expect((await command("show", "vif-web")).text).toContain("addresses   10.0.1.3\n");

  // In place: another address may be the guest's now, and its own not any more.
  expect((await command("add", "vif-web", "--address", "10.0.1.4")).code).toBe(0);
  expect((await guest.run([...CURL, "--max-time", "1", URL])).code).not.toBe(0);
  expect(await command("remove", "vif-web")).toEqual({
    code: 0,
    text: "vif-web is not registered any more\n",
  });
  expect(interfaceIn(await statusOf(lab), "vif-web")).toBeUndefined();
  expect(readdirSync(folder())).toEqual([]);
});

test("what is wrong is said, a line each, and changes nothing", async () => {
  expect(await command("add", "other*", "--mac", "01:00:5e:00:00:01", "--address", "10.0.1")).toEqual({
    code: 2,
    text: `name: "other*" is a pattern; expected the name of one interface
addresses[0]: "10.0.1" is not the IPv4 address of a host; expected one like 10.0.1.3
mac: "01:00:5e:00:00:01" is not the MAC of an interface; expected one like 02:00:0a:00:01:03
`,
  });
  expect(await command("remove", "other1")).toEqual({ code: 1, text: "onlink: other1 is not registered\n" });
  expect(await command("show", "none")).toMatchObject({
    code: 1,
    text: expect.stringContaining('no interface "none"'),
  });
  expect(readdirSync(folder())).toEqual([]);
});

test("the configuration wins over a registration, as long as it names the interface", async () => {
  const named = (rule: object) => ({ ...config, interfaces: [...config.interfaces, rule] });
  writeFileSync(`${lab.root}/run/fixed0.yaml`, "addresses: [10.0.9.9]\n");
  expect((await command("add", "fixed0", "--file", "/run/fixed0.yaml")).code).toBe(0);
  await agent.stop();
  agent = await startAgent(lab, named({ name: "fixed0" }));
  expect(await command("add", "fixed0")).toEqual({
    code: 1,
    text: `onlink: fixed0 is configured in ${CONFIG_FILE}; change it there\n`,
  });
  // The one from before is still there, and may go.
  expect((await command("remove", "fixed0")).code).toBe(0);
});

test("onlink down takes the registrations along", async () => {
  expect((await command("add", "vif-gone")).code).toBe(0);
  await agent.stop();
  const { stdout } = await onlink(lab, "down", "--config", CONFIG_FILE);
  expect(stdout).toContain("removed registered interfaces in /var/lib/onlink/interfaces\n");
  expect(existsSync(folder())).toBe(false);
});
