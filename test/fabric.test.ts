/** Backends that are reached through the host's network, and the host's own traffic beside. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { startAgent, statusOf } from "./support/agent.ts";
import { CURL, hashOfBytes, hashOfDownload, output, requestFrom, shell } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const SERVICE = "http://169.254.169.254";
/** On the loopback of both fabrics: the host's routes decide which of them is asked. */
const BACKEND = "203.0.113.10";

let lab: Lab;
let guest: Guest;
let near: Fabric;
let far: Fabric;

beforeEach(async () => {
  lab = await openLab();
  near = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  far = await lab.addFabric({ name: "fab1", hostAddress: "198.51.100.1/24", address: "198.51.100.10/24" });
  for (const fabric of [near, far]) {
    await output(fabric, ["ip", "addr", "add", `${BACKEND}/32`, "dev", "lo"]);
    await startHttpServer(fabric, { address: "0.0.0.0", port: 8080 });
  }
  guest = await lab.addGuest(WEB);
});
afterEach(() => lab?.close());

function routeThrough({ name, address }: Fabric): Promise<string> {
  const gateway = address.split("/")[0]!;
  return output(lab.host, ["ip", "route", "replace", BACKEND, "via", gateway, "dev", name]);
}

const start = (config: object = {}) =>
  startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: [`${BACKEND}:8080`] }],
    interfaces: [{ name: "vif-*" }],
    ...config,
  });

async function backend() {
  return (await statusOf(lab)).services[0]!.backends[0]!;
}

test("a route that moves to another interface is followed", async () => {
  await routeThrough(near);
  await start();
  expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.1");

  await routeThrough(far);
  await waitFor("the backend by fab1", async () => {
    const now = await backend();
    return now.state === "in use" && now.interface === "fab1" && now.source === "198.51.100.1";
  });
  expect((await requestFrom(guest, SERVICE)).peer).toBe("198.51.100.1");
  expect((await statusOf(lab)).fabric.map(({ name, state }) => ({ name, state }))).toEqual([
    { name: "fab1", state: "attached" },
  ]);
});

test("a download goes on when its route moves, by the way on which it began", async () => {
  await routeThrough(near);
  const agent = await start();
  const download = guest.run([
    ...["curl", "-sS", "--limit-rate", "3M", "--max-time", "20", "-o", "/dev/null", "-w", "%{size_download}"],
    `${SERVICE}/bytes/12000000`,
  ]);
  await waitFor("the download's flow", async () => (await statusOf(lab)).flows.now > 0);
  await routeThrough(far);
  await agent.waitForLine(/"msg":"fabric interface kept for its flows"/);
  expect((await requestFrom(guest, SERVICE)).peer).toBe("198.51.100.1");
  expect(await download).toMatchObject({ code: 0, stdout: "12000000" });
});

test.each(["tcx", "clsact"])(
  "a vif that turns to fabric over a restart has its program, by %s",
  async (attach) => {
    const interfaces = [{ name: "vif-*" }, { name: "fab0" }];
    const agent = await start({ interfaces, agent: { attach } });
    expect((await statusOf(lab)).interfaces).toContainEqual(
      expect.objectContaining({ name: "fab0", state: "attached" }),
    );
    await agent.stop();
    await routeThrough(near);
    await start({ interfaces, agent: { attach } });
    expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.1");
  },
);

test("a fabric interface that goes and comes back at once with its ifindex is attached anew", async () => {
  await routeThrough(near);
  await start();
  expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.1");
  await shell(
    lab.host,
    `index=$(cat /sys/class/net/fab0/ifindex)
     ip link del fab0
     ip link add fab0 index $index type veth peer name eth0 netns fab0
     ip -n fab0 link set eth0 up
     ip -n fab0 addr add 192.0.2.10/24 dev eth0
     ip link set fab0 up
     ip addr add 192.0.2.1/24 dev fab0
     ip route replace ${BACKEND} via 192.0.2.10 dev fab0`,
  );
  const retry = ["--connect-timeout", "1", "--retry", "9", "--retry-all-errors", "--retry-delay", "0"];
  expect((await requestFrom(guest, SERVICE, ...retry)).peer).toBe("192.0.2.1");
});

test("fabric.sourceAddress that the host does not have is the reason why the backend is out of use", async () => {
  await routeThrough(near);
  await start({ fabric: { sourceAddress: "192.0.2.77" } });
  expect(await backend()).toMatchObject({
    state: "out of use",
    reason: "fabric.sourceAddress 192.0.2.77 is not an address of this host",
  });
  await output(lab.host, ["ip", "addr", "add", "192.0.2.77/24", "dev", "fab0"]);
  await waitFor("the backend in use", async () => (await backend()).state === "in use");
  expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.77");
});

test("a backend without a route is out of use, and comes into use with one", async () => {
  await start();
  expect(await backend()).toEqual({
    address: BACKEND,
    port: 8080,
    state: "out of use",
    reason: "no route to it",
  });
  const { code } = await guest.run([...CURL, "--connect-timeout", "1", SERVICE]);
  expect(code).not.toBe(0);
  expect((await statusOf(lab)).counters["no-backend"].frames).toBeGreaterThan(0);

  await routeThrough(near);
  await waitFor("the backend in use", async () => (await backend()).state === "in use");
  expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.1");

  await output(lab.host, ["ip", "link", "set", "fab0", "down"]);
  await waitFor("the backend out of use", async () => (await backend()).state === "out of use");
});

test.each([
  { forward: 0, rpFilter: 1 },
  { forward: 1, rpFilter: 0 },
])(
  "ip_forward=$forward, rp_filter=$rpFilter: works, and from the reserved ports",
  async ({ forward, rpFilter }) => {
    await routeThrough(near);
    await start({ fabric: { ports: [62000, 62999] } });
    await shell(
      lab.host,
      `echo ${forward} >/proc/sys/net/ipv4/ip_forward
     for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo ${rpFilter} >$file; done`,
    );
    expect(await hashOfDownload(guest, `${SERVICE}/bytes/1000000`)).toBe(hashOfBytes(1_000_000));
    for (let count = 0; count < 10; count++) {
      const { peer, peerPort } = await requestFrom(guest, SERVICE);
      expect(peer).toBe("192.0.2.1");
      expect(peerPort).toBeGreaterThanOrEqual(62000);
      expect(peerPort).toBeLessThanOrEqual(62999);
    }
    expect(await shell(lab.host, "cat /proc/sys/net/ipv4/ip_local_reserved_ports")).toBe("62000-62999\n");
  },
);

test("the host's own traffic goes on: with the backend, and from the ports that onlink uses with others", async () => {
  await routeThrough(near);
  await start();
  const fromOnlinksPorts = ["--local-port", "61000-65535"];
  const download = lab.host.run([
    ...["curl", "-s", "--limit-rate", "3M", "-o", "/dev/null", "-w", "%{size_download}"],
    ...[...fromOnlinksPorts, "http://192.0.2.10:8080/bytes/6000000"],
  ]);
  for (let count = 0; count < 20; count++) {
    expect((await requestFrom(guest, SERVICE)).peer).toBe("192.0.2.1");
    await requestFrom(lab.host, "http://192.0.2.10:8080/", ...fromOnlinksPorts);
    expect((await requestFrom(lab.host, `http://${BACKEND}:8080/`)).peerPort).toBeLessThan(61000);
  }
  expect(await hashOfDownload(lab.host, `http://${BACKEND}:8080/bytes/1000000`)).toBe(hashOfBytes(1_000_000));
  expect(await download).toMatchObject({ code: 0, stdout: "6000000" });
});
