/** OpenSDN's port API, as its clients use it: Python's HTTP library, which vrouter-port-control uses, and curl. */
import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, interfaceIn, onlink, startAgent, statusOf } from "./support/agent.ts";
import { CURL, output, requestFrom } from "./support/commands.ts";

const URL = "http://169.254.169.254/";
const API = "http://localhost:9091";
const config = {
  services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
  interfaces: [{ name: "other*" }],
  api: { listen: "127.0.0.1:9091" },
};
const id = "753a65ef-918a-4193-9266-dc23ed8a5982";
const port = {
  id,
  "instance-id": "63bd1a8a-ba6a-4547-af8d-653dd8ff397e",
  "ip-address": "10.0.1.3",
  "ip6-address": "None",
  "vn-id": "38ced7ff-fdfc-4f17-9547-17ff4fb45da9",
  "display-name": "vm1",
  "vm-project-id": "cb33cc2c-6fb8-4072-a112-77547c60d2b7",
  "mac-address": "02:75:3a:65:ef:91",
  "system-name": "vif-web",
  type: 0,
  "rx-vlan-id": -1,
  "tx-vlan-id": -1,
  "vhostuser-mode": 0,
  author: "/usr/bin/vrouter-port-control",
  time: "2026-01-02 03:04:05.678901",
};

/** One request, with the headers that vrouter-port-control sets: a type of the body also where there is none. Prints status and body. */
const SCRIPT = `
import sys, urllib.error, urllib.request
method, path, body = sys.argv[1], sys.argv[2], sys.argv[3].encode() if len(sys.argv) > 3 else None
request = urllib.request.Request("${API}" + path, data=body, method=method, headers={"content-type": "application/json"})
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
`;

import { WEB } from "./support/guest.ts";

let lab: Lab;
let guest: Guest;
let agent: LabProcess;
beforeAll(async () => {
  lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  guest = await lab.addGuest({ ...WEB, gatewayOnHost: false });
  agent = await startAgent(lab, config);
});
afterAll(() => lab?.close());

/** Asks until there is an answer: the guest may have found out just before that nobody answers its ARP requests. */
async function reach() {
  return requestFrom(guest, URL, "--retry", "9", "--retry-all-errors", "--retry-delay", "0");
}

async function python(method: string, path: string, body?: object): Promise<string> {
  const args = body === undefined ? [] : [JSON.stringify(body)];
  return (await output(lab.host, ["python3", "-c", SCRIPT, method, path, ...args])).trim();
}

async function curl(...args: string[]): Promise<string> {
  return (await output(lab.host, ["curl", "-sS", "-m", "20", "-w", " %{http_code}", ...args])).trim();
}

const stateOf = async (name: string) => interfaceIn(await statusOf(lab), name)?.state;
const ports = () => `${lab.root}/var/lib/onlink/ports`;

test("a port makes its interface a vif, over restarts too, until it is deleted", async () => {
  expect((await guest.run([...CURL, "--max-time", "1", URL])).code).not.toBe(0);
  expect(await python("POST", "/port", port)).toBe("200 {}");
  const { peer } = await reach();
  expect(await curl(`${API}/port/${id}`)).toMatch(/^\{"id":"753a65ef-.*"ip-address":"10.0.1.3".*\} 200$/);

  await agent.stop();
  agent = await startAgent(lab, config);
  expect((await requestFrom(guest, URL)).peer).toBe(peer);
  const shown = await onlink(lab, "interface", "show", "vif-web", "--config", CONFIG_FILE);
  expect(shown.stdout).toContain(`instanceId  ${port["instance-id"]}\n`);
  const refused = await onlink(lab, "interface", "add", "vif-web", "--config", CONFIG_FILE);
  expect(refused.stderr).toBe(
    "onlink: vif-web is registered already; take that back first (onlink interface remove vif-web)\n",
  );

  expect(await python("DELETE", `/port/${id}`)).toBe("200 {}");
  expect(await stateOf("vif-web")).toBeUndefined();
  expect(readdirSync(ports())).toEqual([]);
});

test("a port that is disabled is no vif until it is enabled", async () => {
  expect(await curl("-d", JSON.stringify([port]), `${API}/port`)).toBe("{} 200");
  await reach();
  expect(await python("PUT", `/disable-port/${id}`)).toBe("200 {}");
  expect(await stateOf("vif-web")).toBe("disabled");
  expect((await guest.run([...CURL, "--max-time", "1", URL])).code).not.toBe(0);
  expect(await python("PUT", `/enable-port/${id}`)).toBe("200 {}");
  await reach();
  expect(await python("POST", "/syncports")).toBe("200 {}");
  expect(await stateOf("vif-web")).toBe("attached");
});

test("errors are OpenSDN's, and change nothing", async () => {
  const before = readdirSync(ports());
  const other = id.replace("7", "8");
  const wrong = { ...port, id: other, "mac-address": "02:75" };
  expect(await python("POST", "/port", wrong)).toBe(
    '500 {"error":"{ Invalid MAC, Use xx:xx:xx:xx:xx:xx format }"}',
  );
  expect(await python("POST", "/port", [{ ...port, id: other, "system-name": "vif-new" }, wrong])).toMatch(
    /^500 /,
  );
  expect(await curl("-d", "{", `${API}/port`)).toBe('{"error":"{ Invalid Json string ==> { }"} 500');
  expect(await curl("-d", JSON.stringify({ ...port, "system-name": "onlink0" }), `${API}/port`)).toMatch(
    /agent's own device.* 500$/,
  );
  expect(await curl(`${API}/port/${other}`)).toBe('{"error":"{ Not Found }"} 404');
  expect(await curl("-H", "Host: attacker.example", `${API}/port/${id}`)).toMatch(/ 403$/);
  expect(readdirSync(ports())).toEqual(before);

  await agent.stop();
  const { stdout } = await onlink(lab, "down", "--config", CONFIG_FILE);
  expect(stdout).toContain("removed ports in /var/lib/onlink/ports\n");
  expect(existsSync(ports())).toBe(false);
});
