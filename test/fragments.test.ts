/** Datagrams larger than a frame, and paths that carry less than the guest's link. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { interfaceIn, startAgent, statusOf } from "./support/agent.ts";
import { dig, hashesOfEcho, output } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";
const FAR = "169.254.169.252";
/** Behind a router whose other link takes frames of 1000 bytes and no more. */
const FAR_BACKEND = "198.51.100.10";
const FAR_MTU = 1000;

let lab: Lab;
let guest: Guest;
let fabric: Fabric;
let far: Fabric;

beforeAll(async () => {
  lab = await openLab();
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guest = await lab.addGuest(WEB);
  far = await behindRouter();
  await Promise.all([
    startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
    startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
    startDnsServer(fabric, { address: "192.0.2.10", port: 5353 }),
    startHttpServer(far, { address: FAR_BACKEND, port: 8080 }),
    startEcho(lab.host, "127.0.0.1"),
    startEcho(fabric, "192.0.2.10"),
  ]);
  await startAgent(lab, {
    services: [
      { address: LOCAL, backend: "127.0.0.1" },
      { address: FABRIC, backend: "192.0.2.10" },
    ]
      .flatMap(({ address, backend }): object[] => [
        { name: `dns-${backend}`, address, port: 53, protocol: "udp", backends: [`${backend}:5353`] },
        { name: `echo-${backend}`, address, port: 7, protocol: "udp", backends: [`${backend}:7007`] },
      ])
      .concat([
        { name: "far", address: FAR, port: 80, protocol: ["tcp", "udp"], backends: [`${FAR_BACKEND}:8080`] },
      ]),
    interfaces: [{ name: "vif-*" }],
  });
});
afterAll(() => lab?.close());

/** Makes the fabric a router to a namespace with `FAR_BACKEND`, and the host's way to it lead there. */
async function behindRouter() {
  const behind = await lab.addFabric({
    name: "far0",
    hostAddress: "198.51.100.1/24",
    address: `${FAR_BACKEND}/24`,
  });
  // Its other end goes from the host to the router.
  await output(lab.host, ["ip", "link", "set", "far0", "netns", "fab0"]);
  for (const [where, line] of [
    [fabric, `link set far0 mtu ${FAR_MTU} up`],
    [fabric, "addr add 198.51.100.1/24 dev far0"],
    [behind, "route add default via 198.51.100.1"],
    [lab.host, "route add 198.51.100.0/24 via 192.0.2.10"],
  ] as const)
    await output(where, ["ip", ...line.split(" ")]);
  await output(fabric, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  return behind;
}

/** A UDP server that sends back what it gets. */
async function startEcho(where: Pick<Lab["host"], "start">, address: string): Promise<void> {
  const script = `const socket = require("node:dgram").createSocket("udp4");
    socket.on("message", (data, from) => socket.send(data, from.port, from.address));
    socket.bind(7007, "${address}", () => console.log("ready"));`;
  const server = await where.start([process.execPath, "-e", script]);
  await server.waitForLine(/^ready$/);
}

/** Sends a datagram of so many bytes from the guest's stack; whether it came back as it was. */
async function echoed(service: string, size: number): Promise<string> {
  const script = `const { randomBytes } = require("node:crypto");
    const socket = require("node:dgram").createSocket("udp4");
    const data = randomBytes(${size});
    socket.on("message", (back) => { console.log(back.equals(data) ? "equal" : "different"); socket.close(); });
    socket.connect(7, "${service}", () => socket.send(data));`;
  return (await output(guest, ["timeout", "5", process.execPath, "-e", script])).trim();
}

async function counted(reason: "fragment" | "malformed" | "icmp-error" | "echo-reply"): Promise<number> {
  return Number(interfaceIn(await statusOf(lab), guest.vif)?.counters?.[reason].frames);
}

describe.each([
  ["host-local", LOCAL],
  ["fabric", FABRIC],
])("%s backend", (_kind, service) => {
  test.each([1_500, 4_000, 60_000])("an answer of %i bytes over UDP reaches the guest", async (size) => {
    const answer = await dig(guest, service, `size-${size}.test`, "TXT", "+bufsize=65535", "+ignore");
    expect(answer.length).toBeGreaterThan(size - 100);
  });

  test.each([1_473, 4_000, 60_000])(
    "a datagram of %i bytes reaches the backend, and comes back",
    async (size) => {
      expect(await echoed(service, size)).toBe("equal");
    },
  );

  test("ping with 4,000 bytes", async () => {
    const before = await counted("echo-reply");
    const said = await output(guest, ["ping", "-c2", "-i0.2", "-W5", "-s4000", service]);
    expect(said).toContain("2 received");
    // In three fragments each.
    expect(await counted("echo-reply")).toBe(before + 6);
  });
});

test("none of them was dropped", async () => {
  expect(await counted("fragment")).toBe(0);
  expect(await counted("malformed")).toBe(0);
});

test("a router that needs smaller packets is heard by the guest", async () => {
  const { sent, returned } = await hashesOfEcho(guest, `http://${FAR}/echo`, 1_000_000);
  expect(returned).toBe(sent);
  expect(await counted("icmp-error")).toBeGreaterThan(0);
  expect(await output(guest, ["ip", "route", "get", FAR])).toContain(`mtu ${FAR_MTU}`);
});

describe("a router that sends no further", () => {
  // The shell says which error the connection met; curl does not.
  const connect = () => guest.run(["/bin/bash", "-c", `</dev/tcp/${FAR}/80`]);

  test("as it may not, is heard by the guest", async () => {
    await output(fabric, ["ip", "route", "add", "prohibit", `${FAR_BACKEND}/32`]);
    const before = await counted("icmp-error");
    expect((await connect()).stderr).toContain("No route to host");
    expect(await counted("icmp-error")).toBeGreaterThan(before);
    await output(fabric, ["ip", "route", "del", "prohibit", `${FAR_BACKEND}/32`]);
  });

  test("as the time to live is over, is heard by the guest", async () => {
    // The two send to each other. Whatever the guest has sent, 64 hops are left on the fabric (DESIGN section 4).
    for (const [where, line] of [
      [far, "address add 198.51.100.11/24 dev eth0"],
      [far, `address del ${FAR_BACKEND}/24 dev eth0`],
      [far, `route add ${FAR_BACKEND}/32 via 198.51.100.1`],
      [far, "route add default via 198.51.100.1"],
      [fabric, `route add ${FAR_BACKEND}/32 via 198.51.100.11`],
    ] as const)
      await where.run(["ip", ...line.split(" ")]);
    await output(far, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    const before = await counted("icmp-error");
    expect((await connect()).stderr).toContain("No route to host");
    expect(await counted("icmp-error")).toBeGreaterThan(before);
  });
});
