/** `onlink why`: each way of being broken, as an operator meets it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { WhyBody } from "../src/api/why.ts";
import { closeFd, detachLink, getPinned } from "../src/datapath/libbpf.ts";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { CONFIG_FILE, onlink, startAgent } from "./support/agent.ts";
import { output, requestFrom, shell } from "./support/commands.ts";

const ADDRESS = "169.254.169.254";
const URL = `http://${ADDRESS}`;
/** Served by the metadata service, whose upstream is down. */
const METADATA = "169.254.169.251";
const DNS = "169.254.169.253";
/** No route leads there. */
const NOWHERE = "198.51.100.9";

let lab: Lab;
const guests = new Map<string, Guest>();

/** The answer for a guest. */
async function why(guest: string, to: string) {
  const { code, stdout, stderr } = await onlink(lab, "why", "--config", CONFIG_FILE, guest, to, "--json");
  if (stdout === "") throw new Error(stderr);
  const { links }: WhyBody = JSON.parse(stdout);
  const broken = links.find(({ state }) => state === "broken");
  expect(code).toBe(broken === undefined ? 0 : 1);
  return { broken, links };
}

/** What a person reads. */
async function readWhy(guest: string, to: string): Promise<string> {
  return (await onlink(lab, "why", "--config", CONFIG_FILE, guest, to)).stdout;
}

const guest = (name: string) => guests.get(name)!;
/** curl that may fail. */
const tryToAsk = (name: string, url = URL) =>
  guest(name).run(["curl", "--silent", "--max-time", "2", "--output", "/dev/null", url]);

beforeAll(async () => {
  lab = await openLab();
  await lab.addBridge({ name: "br0", address: "10.0.1.1/24" });
  const names = ["well", "silent", "spoofer", "greedy", "victim", "thief", "stranger"];
  const added = await lab.addGuests(
    names.map((name, index) => ({
      name,
      link: "bridge" as const,
      bridge: "br0",
      behaviour: "on-link" as const,
      address: `10.0.1.${index + 3}/24`,
      gateway: "10.0.1.1",
    })),
  );
  for (const one of added) guests.set(one.name, one);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startAgent(lab, {
    services: [
      { name: "web", address: ADDRESS, port: 80, backends: ["127.0.0.1:8080"] },
      { name: "metadata", address: METADATA, port: 80, kind: "metadata" },
      { name: "dead", address: DNS, port: 53, protocol: "udp", backends: [`${NOWHERE}:53`] },
      { name: "mute", address: "169.254.169.252", port: 9, protocol: "udp", backends: ["127.0.0.1:9"] },
    ],
    metadata: { mode: "proxy", proxy: { upstream: "http://127.0.0.1:1", secret: "s3cret" } },
    interfaces: [
      { name: "vif-spoofer", addresses: ["10.0.1.5"] },
      { name: "vif-well", instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11" },
      ...["silent", "greedy", "victim", "thief"].map((name) => ({ name: `vif-${name}` })),
    ],
    limits: { flowsPerInterface: 4 },
  });
});
afterAll(() => lab?.close());

test("a guest that is served: nothing is broken, and it is found by the address that it uses", async () => {
  await requestFrom(guest("well"), URL);
  const { broken, links } = await why("10.0.1.3", `${ADDRESS}:80`);
  expect(broken).toBeUndefined();
  expect(links.map(({ link, state }) => `${link} ${state}`)).toEqual([
    "vif ok",
    "service ok",
    "arp ok",
    "limit ok",
    "packets ok",
    "backend ok",
    "answer ok",
  ]);
  for (const link of ["arp", "packets", "answer"])
    expect(links.find((one) => one.link === link)?.age).toBeLessThan(60);
  const text = await readWhy("vif-well", `${ADDRESS}:80`);
  expect(text).toMatch(/^vif-well to 169\.254\.169\.254:80\n/);
  expect(text).toContain("nothing is broken");
});

test("the vif is not attached", async () => {
  expect((await why("vif-stranger", ADDRESS)).broken).toMatchObject({
    link: "vif",
    says: expect.stringContaining("no entry of `interfaces` fits it"),
    mend: expect.stringContaining("onlink interface add vif-stranger"),
  });
});

test("the guest never asked", async () => {
  expect((await why("vif-silent", ADDRESS)).broken).toMatchObject({
    link: "arp",
    says: expect.stringContaining("never asked"),
  });
});

test("spoofed source: named with the address that came and those that are its own", async () => {
  await output(guest("spoofer"), ["ip", "addr", "add", "10.9.9.9/32", "dev", "eth0"]);
  await guest("spoofer").run(["curl", "--silent", "--max-time", "1", "--interface", "10.9.9.9", URL]);
  const { broken } = await why("vif-spoofer", ADDRESS);
  expect(broken).toMatchObject({ link: "source", says: expect.stringContaining("10.9.9.9") });
  expect(await readWhy("vif-spoofer", ADDRESS)).toMatch(
    /source: packets from 10\.9\.9\.9 .*; its addresses are 10\.0\.1\.5\nMend: /,
  );
});

test("over its limit of flows", async () => {
  // Each from a port of its own.
  await shell(guest("greedy"), "for i in $(seq 10); do echo >/dev/udp/169.254.169.252/9; done");
  expect((await why("vif-greedy", ADDRESS)).broken).toMatchObject({
    link: "limit",
    says: expect.stringContaining("4 of at most 4"),
    mend: expect.stringContaining("limits.flowsPerInterface"),
  });
});

test("no service on that port, and none at that address", async () => {
  expect((await why("vif-well", `${ADDRESS}:8080`)).broken).toMatchObject({
    link: "service",
    says: expect.stringContaining("it has web (tcp 80)"),
  });
  expect((await why("vif-well", "169.254.1.1")).broken?.link).toBe("service");
});

test("the backend is down", async () => {
  await guest("well").run(["dig", `@${DNS}`, "+time=1", "+tries=1", "example.com"]);
  expect((await why("vif-well", `${DNS}:53`)).broken).toMatchObject({
    link: "backend",
    says: expect.stringContaining(`${NOWHERE}:53 out of use: no route to it`),
    age: expect.any(Number),
  });
});

test("the metadata service does not know who the guest is, or its upstream is down", async () => {
  await Promise.all(["well", "victim"].map((name) => tryToAsk(name, `http://${METADATA}/`)));
  expect((await why("vif-victim", `${METADATA}:80`)).broken).toMatchObject({
    link: "metadata",
    says: expect.stringMatching(/was 404: it does not know who this guest is/),
    mend: expect.stringContaining("instanceId"),
  });
  const byInstance = await why("6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11", `${METADATA}:80`);
  expect(byInstance.broken).toMatchObject({ link: "metadata", says: expect.stringContaining("was 502") });
});

test("somebody else answered", async () => {
  const { mac } = guest("thief");
  for (const address of [ADDRESS, DNS])
    await output(guest("victim"), ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0"]);
  await tryToAsk("victim");
  const served = await why("vif-victim", ADDRESS);
  expect(served.broken).toBeUndefined();
  expect(served.links.find(({ link }) => link === "arp")?.says).toMatch(
    new RegExp(`sends to ${mac}.*; the guest is served all the same`),
  );
  await guest("victim").run(["dig", `@${DNS}`, "+time=1", "+tries=1", "example.com"]);
  expect((await why("vif-victim", `${DNS}:53`)).broken).toMatchObject({
    link: "arp",
    says: expect.stringContaining(`sends to ${mac}`),
  });
});

test("the vif is down", async () => {
  await output(lab.host, ["ip", "link", "set", "vif-silent", "down"]);
  expect((await why("vif-silent", ADDRESS)).broken).toMatchObject({
    link: "vif",
    says: expect.stringContaining("vif-silent is down"),
  });
  await output(lab.host, ["ip", "link", "set", "vif-silent", "up"]);
});

test("somebody took the program off", async () => {
  const { ifindex } = JSON.parse(await output(lab.host, ["ip", "-j", "link", "show", "vif-silent"]))[0];
  const link = getPinned(`${lab.root}/run/onlink/bpf/links/vif-${ifindex}`);
  if (link === undefined) await output(lab.host, ["tc", "qdisc", "del", "dev", "vif-silent", "clsact"]);
  else {
    detachLink(link);
    closeFd(link);
  }
  expect((await why("vif-silent", ADDRESS)).broken).toMatchObject({
    link: "vif",
    says: expect.stringContaining("taken onlink's program off"),
  });
});

test("a guest that is not known, or that several are, is the question's fault", async () => {
  const unknown = await onlink(lab, "why", "--config", CONFIG_FILE, "10.77.0.1");
  expect(unknown).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('no guest "10.77.0.1" is known'),
  });
  const wrong = await onlink(lab, "why", "--config", CONFIG_FILE, "vif-well", "169.254.169.254:0");
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("is no service address") });
});
