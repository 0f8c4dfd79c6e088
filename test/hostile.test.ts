/**
 * A guest that does its worst, on a bridge with two that do nothing: during each attack they are served, nothing of it reaches them or the
 * fabric, and the counters and events say what was done.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { EventBody } from "../src/api/events.ts";
import type { Reason } from "../src/datapath/types.ts";
import { type Fabric, type Guest, type Lab, type Namespace, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { BROADCAST_MAC, GATEWAY_MAC } from "../src/packet/address.ts";
import {
  arpAnnouncement,
  arpReply,
  echoRequest,
  ethernetFrame,
  tcpFrame,
  udpFrame,
} from "../src/packet/build.ts";
import { fragmentFrame } from "../src/packet/fragment.ts";
import { TCP_FLAG } from "../src/packet/tcp.ts";
import { CONFIG_FILE, interfaceIn, onlink, startAgent, statusOf } from "./support/agent.ts";
import { dig, hashesOfEcho, output, requestFrom } from "./support/commands.ts";
import { type FloodFrame, flood } from "./support/flood.ts";

const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";
const SERVICES = [LOCAL, FABRIC];
const GATEWAY = "10.0.2.1";
const HOG = "10.0.2.66";
const ON_LINK = "10.0.2.3";
const FLOWS_PER_INTERFACE = 600;

const bare = (address: string) => address.split("/")[0]!;

let lab: Lab;
let hog: Guest;
let onLink: Guest;
let routed: Guest;
let fabric: Fabric;

beforeAll(async () => {
  lab = await openLab();
  await lab.addBridge({ name: "br0", address: `${GATEWAY}/24` });
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  const member = { link: "bridge", bridge: "br0", gateway: GATEWAY } as const;
  [hog, onLink, routed] = (await lab.addGuests([
    { ...member, name: "hog", behaviour: "on-link", address: `${HOG}/24` },
    { ...member, name: "on-link", behaviour: "on-link", address: `${ON_LINK}/24` },
    { ...member, name: "routed", behaviour: "routed", address: "10.0.2.4/24" },
  ])) as [Guest, Guest, Guest];
  await Promise.all([
    startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
    startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
    startHttpServer(fabric, { address: "192.0.2.10", port: 8080 }),
  ]);
  await startAgent(lab, {
    services: [
      { name: "web-local", address: LOCAL, port: 80, backends: ["127.0.0.1:8080"] },
      { name: "dns-local", address: LOCAL, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
      { name: "web-fabric", address: FABRIC, port: 80, backends: ["192.0.2.10:8080"] },
    ],
    interfaces: [hog, onLink, routed].map(({ vif, address, mac }) => ({
      name: vif,
      addresses: [bare(address)],
      mac,
    })),
    limits: { flowsPerInterface: FLOWS_PER_INTERFACE },
  });
});
afterAll(() => lab?.close());

/** The hog's counters. */
let before: Record<string, number>;
async function countedNow(): Promise<Record<string, number>> {
  const counters = interfaceIn(await statusOf(lab), hog.vif)!.counters!;
  return Object.fromEntries(Object.entries(counters).map(([reason, { frames }]) => [reason, Number(frames)]));
}
beforeEach(async () => {
  before = await countedNow();
});
/** How many of the hog's frames were counted for a reason in this test. */
async function counted(reason: Reason): Promise<number> {
  return (await countedNow())[reason]! - before[reason]!;
}

/** Frames about services that a guest on the bridge is not to get: all but what onlink itself sends to it. */
function notFor({ mac, address }: Guest): string {
  const services = SERVICES.map((service) => `host ${service}`).join(" or ");
  const answer = `ip and src (${SERVICES.join(" or ")}) and dst host ${bare(address)}`;
  return `(${services}) and not (ether dst ${mac} and ((${answer}) or (arp and ether src ${GATEWAY_MAC})))`;
}
/** All but the frames between the host and the backend. */
const NOT_FOR_FABRIC = "(ip or arp) and not (host 192.0.2.1 and host 192.0.2.10)";

/** Starts to capture what matches; the function that is returned stops and gives a line for each frame. */
async function capture(where: Namespace, filter: string): Promise<() => Promise<string[]>> {
  const tcpdump = await where.start(["tcpdump", "-Q", "in", "-elni", "eth0", "--immediate-mode", filter]);
  await tcpdump.waitForLine(/^listening on/);
  return async () => {
    await tcpdump.stop("SIGINT");
    expect(tcpdump.stderr()).toMatch(/^0 packets dropped by kernel/m);
    return tcpdump
      .stdout()
      .split("\n")
      .filter((line) => line !== "");
  };
}

/** Runs an attack. All the while both neighbours ask, and each of their requests must be answered. Nothing may leak. */
async function attack(run: () => Promise<unknown>): Promise<void> {
  const captures = await Promise.all([
    capture(onLink, notFor(onLink)),
    capture(routed, notFor(routed)),
    capture(fabric, NOT_FOR_FABRIC),
  ]);
  let over = false;
  let rounds = 0;
  const asking = [onLink, routed].map(async (guest) => {
    do {
      expect((await requestFrom(guest, `http://${LOCAL}/`)).peer).toMatch(/^169\.254\.64\./);
      expect((await requestFrom(guest, `http://${FABRIC}/`)).peer).toBe("192.0.2.1");
      expect(await dig(guest, LOCAL, "a.test", "-b", `${bare(guest.address)}#40000`)).toBe("203.0.113.53");
      rounds++;
    } while (!over);
  });
  await Promise.all([
    ...asking,
    run().finally(() => {
      over = true;
    }),
  ]);
  // One each during it.
  expect(rounds).toBeGreaterThanOrEqual(2);
  expect(await Promise.all(captures.map((stop) => stop()))).toEqual([[], [], []]);
}

/** From the hog, as it should be. */
const fromHog = () => ({ sourceMac: hog.mac, destinationMac: GATEWAY_MAC, source: HOG });

test("claims of service addresses: unheard by others, defended once in ten seconds, reported", async () => {
  const claims = SERVICES.flatMap((address) =>
    [hog.mac, onLink.mac, GATEWAY_MAC].flatMap((senderMac) => [
      arpAnnouncement({ senderMac, address }),
      arpAnnouncement({ senderMac, address, destinationMac: onLink.mac }),
      arpReply({ senderMac, senderAddress: address, targetMac: onLink.mac, targetAddress: ON_LINK }),
      // Says one thing in the Ethernet header and another in the packet.
      arpAnnouncement({ senderMac, address, sourceMac: "02:00:00:00:00:77" }),
    ]),
  ).map((bytes) => ({ bytes }));
  const defences = await capture(hog, `arp and ether src ${GATEWAY_MAC} and ether broadcast`);
  await attack(async () => {
    await flood(hog, claims, 24 * 100);
    await output(hog, ["ip", "address", "add", `${LOCAL}/32`, "dev", "eth0"]);
    for (const kind of ["-U", "-A"]) await hog.run(["arping", kind, "-c1", "-w1", "-I", "eth0", LOCAL]);
    await output(hog, ["ip", "address", "del", `${LOCAL}/32`, "dev", "eth0"]);
  });
  expect(await counted("arp-conflict")).toBeGreaterThanOrEqual(24 * 100 + 2);
  expect(
    (await defences()).map((line) => /Request who-has (\S+).* tell (\S+),/.exec(line)?.slice(1)).sort(),
  ).toEqual([...SERVICES].sort().map((address) => [expect.stringContaining(address), address]));
  const { stdout } = await onlink(lab, "events", "--json", "--config", CONFIG_FILE);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as EventBody);
  expect(events).toContainEqual(
    expect.objectContaining({ kind: "conflict", interface: hog.vif, service: LOCAL, mac: hog.mac }),
  );
  expect(await output(onLink, ["ip", "neigh", "show", LOCAL])).toContain(`lladdr ${GATEWAY_MAC}`);
});

test("claims of the gateway: who believes them is served all the same, and by nobody else", async () => {
  const claim = arpReply({
    senderMac: hog.mac,
    senderAddress: GATEWAY,
    targetMac: routed.mac,
    targetAddress: "10.0.2.4",
  });
  const asked = await capture(hog, `host ${LOCAL} or host ${FABRIC}`);
  await output(routed, ["ping", "-c1", "-W5", GATEWAY]);
  await attack(async () => {
    await flood(hog, [{ bytes: claim }], 100);
    // It works: nothing of it is about services, and the guest is not protected from it by onlink.
    expect(await output(routed, ["ip", "neigh", "show", GATEWAY])).toContain(`lladdr ${hog.mac}`);
    await requestFrom(routed, `http://${LOCAL}/`);
    await requestFrom(routed, `http://${FABRIC}/`);
  });
  expect(await asked()).toEqual([]);
  await output(routed, ["ip", "neigh", "flush", "dev", "eth0"]);
});

test("MACs that are not its own: the bridge believes it, onlink does not ask the bridge", async () => {
  // For local experiments (IEEE 802): no frame that onlink looks into.
  const frames = [GATEWAY_MAC, onLink.mac, routed.mac].map((sourceMac) => ({
    bytes: ethernetFrame({
      sourceMac,
      destinationMac: BROADCAST_MAC,
      etherType: 0x88b5,
      payload: new Uint8Array(46),
    }),
  }));
  await attack(async () => {
    await flood(hog, frames, 30_000);
    const learned = await output(lab.host, ["bridge", "fdb", "show", "br", "br0"]);
    expect(learned).toMatch(new RegExp(`^${GATEWAY_MAC} dev ${hog.vif} `, "m"));
  });
});

test("sources that are not its own", async () => {
  const syn = { destination: LOCAL, sourcePort: 40000, destinationPort: 80, flags: TCP_FLAG.syn };
  const query = { destination: LOCAL, sourcePort: 40000, destinationPort: 53, data: new Uint8Array(20) };
  const echo = { destination: LOCAL, identifier: 1, sequence: 1 };
  const lies = [
    { source: ON_LINK },
    { source: ON_LINK, sourceMac: onLink.mac },
    { source: LOCAL },
    { source: FABRIC },
    { source: GATEWAY },
    { source: "192.0.2.10" },
    { sourceMac: GATEWAY_MAC },
  ].flatMap((lie) => {
    const from = { ...fromHog(), ...lie };
    return [
      tcpFrame({ ...from, ...syn }),
      udpFrame({ ...from, ...query }),
      echoRequest({ ...from, ...echo }),
    ];
  });
  await attack(() =>
    flood(
      hog,
      lies.map((bytes) => ({ bytes })),
      lies.length * 100,
    ),
  );
  expect(await counted("spoofed")).toBe(lies.length * 100);
  expect(await counted("forwarded")).toBe(0);
  expect(await counted("echo-reply")).toBe(0);
});

test("fragments that overlap, never end or have no beginning", async () => {
  const whole = udpFrame({
    ...fromHog(),
    destination: LOCAL,
    sourcePort: 40000,
    destinationPort: 53,
    data: new Uint8Array(1400),
  });
  const pieces = fragmentFrame(whole, 480);
  /** Flags and offset of the IPv4 header, in units of 8 bytes; its checksum is not looked at by those who drop it. */
  const at = (bytes: Uint8Array, offset: number, more: boolean): FloodFrame => {
    const changed = bytes.slice();
    new DataView(changed.buffer).setUint16(20, offset | (more ? 0x2000 : 0));
    return { bytes: changed, random: [[18, 2]] };
  };
  const first = pieces[0]!;
  const tiny = fragmentFrame(
    tcpFrame({
      ...fromHog(),
      destination: LOCAL,
      sourcePort: 40000,
      destinationPort: 80,
      flags: TCP_FLAG.syn,
    }),
    8,
  );
  await attack(() =>
    flood(
      hog,
      [
        // First ones without end; overlapping ones of the same packet; later ones of none; beyond 65,535 bytes; too small for the header.
        { bytes: first, random: [[18, 2]] },
        { bytes: first },
        ...[1, 30, 60].map((offset) => ({ ...at(first, offset, true), random: [] })),
        at(first, 1, true),
        at(first, 8191, false),
        { bytes: tiny[0]!, random: [[18, 2]] },
      ],
      40_000,
    ),
  );
  expect(await counted("fragment")).toBeGreaterThan(9_000);
  expect(await counted("malformed")).toBe(5_000);
  // What the guest sends rightly goes on.
  expect(await output(hog, ["ping", "-c1", "-W5", "-s4000", LOCAL])).toContain("1 received");
});

test("a flood of SYNs: the limit holds, and what was open goes on", async () => {
  const syn = (destination: string): FloodFrame => ({
    bytes: tcpFrame({ ...fromHog(), destination, sourcePort: 1, destinationPort: 80, flags: TCP_FLAG.syn }),
    random: [[34, 2]],
    tcpChecksumAt: 50,
  });
  const transfer = hashesOfEcho(hog, `http://${LOCAL}/echo`, 10_000_000, "--limit-rate", "2M");
  const connections = ["ss", "-Htn", "state", "established"];
  const isUnderWay = async () => (await output(hog, connections)) !== "";
  await waitFor("the transfer to begin", isUnderWay);
  await attack(async () => {
    await flood(hog, SERVICES.map(syn), 100_000);
    const flows = interfaceIn(await statusOf(lab), hog.vif)?.flows;
    expect(flows).toBeLessThanOrEqual(FLOWS_PER_INTERFACE);
    // Those that the hog's own stack has reset end soon.
    expect(flows).toBeGreaterThan(FLOWS_PER_INTERFACE / 2);
    expect(await isUnderWay()).toBe(true);
    const { sent, returned } = await transfer;
    expect(returned).toBe(sent);
  });
  expect(await counted("limit")).toBeGreaterThan(50_000);
  const { stdout } = await onlink(lab, "events", "--config", CONFIG_FILE);
  expect(stdout).toMatch(new RegExp(`${hog.vif} +limit `));
});

test("a million frames at random", async () => {
  const zeros = new Uint8Array(60);
  const tcp = tcpFrame({ ...fromHog(), destination: LOCAL, sourcePort: 1, destinationPort: 1, data: zeros });
  const claim = arpAnnouncement({ senderMac: hog.mac, address: LOCAL, padTo: 60 });
  await attack(() =>
    flood(
      hog,
      [
        { bytes: zeros, random: [[0, 60]] },
        // IPv4 to a service, all else at random.
        {
          bytes: tcp,
          random: [
            [0, 12],
            [14, 16],
            [34, 80],
          ],
        },
        // Right up to the protocol; and up to the ports.
        {
          bytes: tcp,
          random: [
            [23, 1],
            [34, 80],
          ],
        },
        { bytes: tcp, random: [[38, 76]] },
        {
          bytes: claim,
          random: [
            [0, 12],
            [20, 8],
            [32, 10],
          ],
        },
      ],
      1_000_000,
    ),
  );
  expect(await counted("malformed")).toBeGreaterThan(100_000);
  expect(await counted("unknown-port")).toBeGreaterThan(100_000);
}, 60_000);
