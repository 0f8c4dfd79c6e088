/** The host reaches each guest by its metadata address: curl, DNS and ping, and what says no when there is nobody. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { interfaceIn, metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import {
  CURL,
  dig,
  hashesOfEcho,
  hashOfBytes,
  hashOfDownload,
  output,
  ping,
  requestFrom,
} from "./support/commands.ts";

const SERVICE = "169.254.169.254";

const GUESTS = [
  // Tenants with the same address and MAC.
  { name: "veth", link: "veth", address: "10.0.1.3/24", gateway: "10.0.1.1", gatewayOnHost: false },
  { name: "veth-p", link: "veth", address: "10.0.1.3/24", gateway: "10.0.1.1", gatewayOnHost: false },
  { name: "port", link: "bridge", bridge: "br0", address: "10.0.9.3/24", gateway: "10.0.9.1" },
  { name: "port-p", link: "bridge", bridge: "br0", address: "10.0.9.4/24", gateway: "10.0.9.1" },
  { name: "tap", link: "tap", address: "10.0.4.3/24", gateway: "10.0.4.1" },
  { name: "tap-p", link: "tap", address: "10.0.5.3/24", gateway: "10.0.5.1" },
].map((spec, index) => ({ ...spec, behaviour: index % 2 === 0 ? "on-link" : "routed" })) as Array<
  Parameters<Lab["addGuest"]>[0]
>;
/** The guests of which the configuration knows the interface alone. */
const isUnknown = ({ name }: { name: string }) => name.endsWith("-p");

let lab: Lab;
const guests = new Map<string, Guest>();
/** By guest. */
const addresses = new Map<string, string>();

beforeAll(async () => {
  lab = await openLab();
  await lab.addBridge({ name: "br0", address: "10.0.9.1/24" });
  for (const guest of await lab.addGuests(GUESTS)) guests.set(guest.name, guest);
  const known = [...guests.values()].filter((guest) => !isUnknown(guest));
  await Promise.all([
    startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
    ...[...guests.values()].flatMap((guest) => [
      startHttpServer(guest, { address: "0.0.0.0", port: 80 }),
      startDnsServer(guest, { address: "0.0.0.0", port: 53 }),
    ]),
  ]);
  await startAgent(lab, {
    services: [{ name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: [
      ...known.map(({ vif, address, mac }) => ({ name: vif, addresses: [address.split("/")[0]], mac })),
      { name: "vif-*" },
    ],
  });
  const status = await statusOf(lab);
  for (const { name, vif } of guests.values()) addresses.set(name, metadataAddressIn(status, vif));
});
afterAll(() => lab?.close());

/** How many frames for a guest were dropped as they belong to no flow. */
async function droppedWithoutFlow(name: string): Promise<number> {
  return Number(interfaceIn(await statusOf(lab), guests.get(name)!.vif)?.counters?.["no-flow"].frames);
}

test("a guest of which nothing is known is not reached before its first request", async () => {
  const { code } = await lab.host.run([
    ...CURL,
    "--connect-timeout",
    "1",
    `http://${addresses.get("veth-p")}/`,
  ]);
  expect(code).toBe(28);
  expect(await droppedWithoutFlow("veth-p")).toBeGreaterThan(0);
  // From here on all are known.
  for (const guest of guests.values()) if (isUnknown(guest)) await requestFrom(guest, `http://${SERVICE}/`);
});

describe.each(GUESTS)("$name", ({ name }) => {
  test("HTTP, DNS and ping reach it, and come from the service address", async () => {
    const address = addresses.get(name)!;
    const seen = await requestFrom(lab.host, `http://${address}/to?${name}`, "--local-port", "40000-40099");
    expect(seen.peer).toBe(SERVICE);
    expect(seen.peerPort).toBeGreaterThanOrEqual(40000);
    expect(seen.peerPort).toBeLessThanOrEqual(40099);
    expect(seen.headers.host).toBe(address);
    expect(seen.url).toBe(`/to?${name}`);
    expect(await dig(lab.host, address, "who.test", "TXT")).toBe(`"${SERVICE}"`);
    await ping(lab.host, address);
  });

  test("much data, both ways", async () => {
    const url = `http://${addresses.get(name)}`;
    expect(await hashOfDownload(lab.host, `${url}/bytes/3000000`)).toBe(hashOfBytes(3_000_000));
    const { sent, returned } = await hashesOfEcho(lab.host, `${url}/echo`, 1_000_000);
    expect(returned).toBe(sent);
  });

  test("in fragments, both ways", async () => {
    const address = addresses.get(name)!;
    const answer = await dig(lab.host, address, "size-4000.test", "TXT", "+bufsize=65535");
    expect(answer.length).toBeGreaterThan(3900);
    await output(lab.host, ["ping", "-c1", "-W5", "-s4000", address]);
  });

  test("a port where nobody listens says so: TCP and UDP", async () => {
    const address = addresses.get(name)!;
    const { code, stderr } = await lab.host.run([...CURL, `http://${address}:81/`]);
    expect({ code, stderr }).toEqual({
      code: 7,
      stderr: expect.stringMatching(/^curl: \(7\) Failed to connect/),
    });
    const asked = await lab.host.run(["dig", `@${address}`, "-p", "54", "+time=5", "+tries=1", "a.test"]);
    expect(asked.stdout).toContain(`communications error to ${address}#54: connection refused`);
  });
});

test("guests with the same address are told apart, both at once", async () => {
  const ask = async (name: string) => {
    const url = `http://${addresses.get(name)}/echo`;
    const { sent, returned } = await hashesOfEcho(lab.host, url, 2_000_000, "--limit-rate", "4M");
    expect(returned).toBe(sent);
    return sent;
  };
  const [red, blue] = await Promise.all([ask("veth"), ask("veth-p")]);
  expect(red).not.toBe(blue);
});
