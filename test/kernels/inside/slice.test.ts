/** The way from end to end on a kernel without tcx. Runs inside the VM that `../kernel-6.1.test.ts` boots. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../../../src/lab/lab.ts";
import type { LabProcess } from "../../../src/lab/process.ts";
import { startDnsServer, startHttpServer } from "../../../src/lab/servers.ts";
import { waitFor } from "../../../src/lab/wait.ts";
import { GATEWAY_MAC } from "../../../src/packet/address.ts";
import { CONFIG_FILE, interfaceIn, onlink, startAgent, statusOf, writeConfig } from "../../support/agent.ts";
import { dig, output, requestFrom, shell } from "../../support/commands.ts";
import { hostState } from "../../support/traces.ts";

const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";
const SECOND = "169.254.169.252";
const CONFIG = {
  services: [
    { name: "local", address: LOCAL, port: 80, backends: ["127.0.0.1:8080"] },
    { name: "dns", address: LOCAL, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
    { name: "dns-too", address: SECOND, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
    { name: "fabric", address: FABRIC, port: 80, backends: ["192.0.2.10:8080"] },
  ],
  interfaces: [{ name: "vif-*" }],
};
const GUESTS = [
  { name: "vr", link: "veth", behaviour: "routed", address: "10.0.1.3/24", gateway: "10.0.1.1" },
  { name: "vo", link: "veth", behaviour: "on-link", address: "10.0.2.3/24", gateway: "10.0.2.1" },
  {
    name: "br",
    link: "bridge",
    bridge: "br0",
    behaviour: "routed",
    address: "10.0.9.3/24",
    gateway: "10.0.9.1",
  },
  {
    name: "bo",
    link: "bridge",
    bridge: "br0",
    behaviour: "on-link",
    address: "10.0.9.4/24",
    gateway: "10.0.9.1",
  },
] as const;

let lab: Lab;
let before: Record<string, string>;
const guests = new Map<string, Guest>();

beforeAll(async () => {
  lab = await openLab();
  const fabric = await lab.addFabric({
    name: "fab0",
    hostAddress: "192.0.2.1/24",
    address: "192.0.2.10/24",
  });
  await lab.addBridge({ name: "br0", address: "10.0.9.1/24" });
  for (const guest of await lab.addGuests(GUESTS)) guests.set(guest.name, guest);
  // IPv6 gives every link an address of its own accord, some time after it came up: nothing for a comparison.
  await shell(lab.host, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 });
  await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
  await writeConfig(lab, CONFIG);
  before = await hostState(lab);
});
afterAll(() => lab?.close());

test("onlink check finds all that is needed, and clsact", async () => {
  const { code, stdout } = await onlink(lab, "check", "--config", CONFIG_FILE);
  console.log(stdout);
  expect(code, stdout).toBe(0);
  expect(stdout).toMatch(/^ok +attach +clsact filters; the kernel has no tcx$/m);
});

describe("with an agent", () => {
  let agent: LabProcess;

  beforeAll(async () => {
    agent = await startAgent(lab, CONFIG);
    expect((await statusOf(lab)).attach).toBe("clsact");
  });

  test.each(GUESTS)("$link, $behaviour: reaches both backends", async ({ name, behaviour }) => {
    const guest = guests.get(name)!;
    expect((await requestFrom(guest, `http://${LOCAL}/`)).peer).toMatch(/^169\.254\.64\.\d+$/);
    expect((await requestFrom(guest, `http://${FABRIC}/`)).peer).toBe("192.0.2.1");
    for (const service of [LOCAL, FABRIC]) {
      const neighbour = await output(guest, ["ip", "neigh", "show", service]);
      if (behaviour === "on-link") expect(neighbour).toContain(`lladdr ${GATEWAY_MAC}`);
      else expect(neighbour).toBe("");
    }
  });

  // What a map update returns has another width before Linux 6.4.
  test("a source port that another flow to the backend has is exchanged for a free one", async () => {
    for (const service of [LOCAL, SECOND]) {
      const answer = await dig(guests.get("vo")!, service, "-b", "0.0.0.0#40000", "a.test", "A");
      expect(answer).toBe("203.0.113.53");
    }
  });

  test("a port without a service is refused", async () => {
    const curl = ["curl", "-sS", "--max-time", "20", `http://${LOCAL}:81/`];
    const { code, stderr } = await guests.get("vo")!.run(curl);
    // "Failed to connect"; silence would be 28.
    expect(code, stderr).toBe(7);
  });

  test("frames are counted, and flows that are closed end by the kernel's own timers", async () => {
    const { forwarded, returned } = (await statusOf(lab)).counters;
    expect(forwarded.frames).toBeGreaterThan(0);
    expect(returned.frames).toBeGreaterThan(0);
    // Closed flows end after 10 s, which this machine may need for a status: so one that stays open as long as it must.
    const flows = async () => interfaceIn(await statusOf(lab), "vif-bo")?.flows ?? 0;
    const slow = ["curl", "-sS", "--limit-rate", "1k", "-o", "/dev/null", `http://${LOCAL}/bytes/1000000000`];
    const download = await guests.get("bo")!.start(slow);
    await waitFor("its flow", async () => (await flows()) > 0, 60_000);
    await download.stop();
    await waitFor("its flows to end", async () => (await flows()) === 0, 60_000);
  });

  test("onlink down leaves the host as it was", async () => {
    await agent.stop();
    const { code, stderr } = await onlink(lab, "down", "--config", CONFIG_FILE);
    expect(code, stderr).toBe(0);
    expect(await hostState(lab)).toEqual(before);
  });
});
