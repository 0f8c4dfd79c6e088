/**
 * What the form of a frame must not change: headers outside the linear part of the packet, checksums that are not computed
 * yet, segments not cut yet, IP options, UDP without checksum.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Guest, type Lab, type Namespace, openLab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { GATEWAY_MAC } from "../src/packet/address.ts";
import { echoRequest, udpFrame } from "../src/packet/build.ts";
import { windowsArpRequest } from "../src/packet/fixtures.ts";
import { interfaceIn, startAgent, statusOf } from "./support/agent.ts";
import { dig, hashesOfEcho, output, ping } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const LOCAL = "169.254.169.254";
const FABRIC = "169.254.169.253";

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  lab = await openLab();
  const fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guest = await lab.addGuest(WEB);
  const iperf = ["iperf3", "--server", "--forceflush"];
  const [local, remote] = await Promise.all([
    lab.host.start(iperf),
    fabric.start(iperf),
    startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
    startHttpServer(fabric, { address: "192.0.2.10", port: 8080 }),
    startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
    startDnsServer(fabric, { address: "192.0.2.10", port: 5353 }),
  ]);
  await Promise.all([local.waitForLine(/^Server listening/), remote.waitForLine(/^Server listening/)]);
  const services = [
    { address: LOCAL, backend: "127.0.0.1" },
    { address: FABRIC, backend: "192.0.2.10" },
  ].flatMap(({ address, backend }) => [
    { name: `web-${backend}`, address, port: 80, backends: [`${backend}:8080`] },
    { name: `dns-${backend}`, address, port: 53, protocol: "udp", backends: [`${backend}:5353`] },
    { name: `iperf-${backend}`, address, port: 5201, backends: [`${backend}:5201`] },
  ]);
  await startAgent(lab, { services, interfaces: [{ name: "vif-*" }] });
});
afterAll(() => lab?.close());

/** Says whether an interface computes checksums and cuts segments, as far as the kernel is concerned. */
async function setOffloads(where: Namespace, link: string, state: "on" | "off"): Promise<void> {
  await output(where, ["ethtool", "-K", link, "tx", state, "sg", state, "tso", state, "gso", state]);
}

/** How many frames the guest's vif was counted for, by reason. */
async function counted(
  ...reasons: Array<"arp-reply" | "echo-reply" | "forwarded" | "returned">
): Promise<number[]> {
  const vif = interfaceIn(await statusOf(lab), guest.vif);
  return reasons.map((reason) => Number(vif?.counters?.[reason].frames));
}

/** Sends frames in turn, each `count` times, through a packet ring: it leaves 14 bytes in the linear part of each. */
async function sendByRing(frames: readonly Uint8Array[], count: number): Promise<void> {
  const packets = frames.map(
    (frame) => `{ ${[...frame].map((byte) => `0x${byte.toString(16)}`).join(", ")} }\n`,
  );
  await output(
    guest,
    [
      // At full speed: with pauses it sends by another way.
      ...["trafgen", "--dev", "eth0", "--conf", "-", "--cpus", "1"],
      ...["--num", String(count * frames.length)],
    ],
    { input: packets.join(""), cwd: "/run" }, // it writes a temporary file where it is run
  );
}

/** A query for the address of `a.test` (RFC 1035 s. 4.1). */
const QUERY = Buffer.from(
  "1234 0100 0001 0000 0000 0000 01 61 04 74657374 00 0001 0001".replaceAll(" ", ""),
  "hex",
);
/** Router alert (RFC 2113). */
const IP_OPTION = Uint8Array.of(0x94, 4, 0, 0);

const from = { sourceMac: "02:00:0a:00:01:03", destinationMac: GATEWAY_MAC, source: "10.0.1.3" };
const query = (destination: string, sourcePort: number, fields: object = {}) =>
  udpFrame({ ...from, destination, sourcePort, destinationPort: 53, data: QUERY, ...fields });

/** What is sent, and the filter of tcpdump that tells its answer. */
const FRAMES = [
  { frame: windowsArpRequest(), answer: `arp[6:2] == 2 and arp src ${LOCAL} and arp dst 172.31.0.7` },
  {
    frame: echoRequest({ ...from, destination: LOCAL, identifier: 7, sequence: 1, data: Buffer.alloc(32) }),
    answer: `icmp[0] == 0 and src host ${LOCAL}`,
  },
  ...[LOCAL, FABRIC].flatMap((address, place) =>
    [{}, { udp: { checksum: 0 } }, { ip: { options: IP_OPTION } }].map((form, index) => {
      const port = 40000 + 10 * place + index;
      return {
        frame: query(address, port, form),
        answer: `udp and src host ${address} and src port 53 and dst port ${port}`,
      };
    }),
  ),
];

describe.each([
  { inGuest: "on", onHost: "on" },
  { inGuest: "off", onHost: "on" },
  // The kernel finishes what the guest left open after onlink has changed it, in both directions.
  { inGuest: "on", onHost: "off" },
] as const)("offloads $inGuest in the guest, $onHost on the host", ({ inGuest, onHost }) => {
  beforeAll(async () => {
    await setOffloads(guest, "eth0", inGuest);
    await setOffloads(lab.host, guest.vif, onHost);
    await setOffloads(lab.host, "fab0", onHost);
  });

  test("every frame from a packet ring is answered", async () => {
    // In one burst, so no more than the buffers of the servers' sockets hold.
    const count = 40;
    const reasons = ["arp-reply", "echo-reply", "forwarded", "returned"] as const;
    const before = await counted(...reasons);
    const captures = await Promise.all(
      FRAMES.map(async ({ answer }) => {
        const capture = await guest.start(["tcpdump", "-ni", "eth0", "-c", String(count), answer]);
        await capture.waitForLine(/^listening on/);
        return capture;
      }),
    );
    await sendByRing(
      FRAMES.map(({ frame }) => frame),
      count,
    );
    // It ends by itself when it has as many as it is to have.
    await Promise.all(captures.map((capture) => capture.waitForLine(/^\d+ packets captured/)));
    const after = await counted(...reasons);
    const natted = FRAMES.filter(({ answer }) => answer.startsWith("udp")).length;
    const [arpReplies, ...others] = after.map((now, index) => now - before[index]!);
    expect(others).toEqual([count, natted * count, natted * count]);
    // The guest's own stack may have asked too.
    expect(arpReplies).toBeGreaterThanOrEqual(count);
  });

  test.each([
    ["host-local", LOCAL],
    ["fabric", FABRIC],
  ])("TCP, UDP and ICMP of the guest's stack, %s", async (_kind, service) => {
    const { sent, returned } = await hashesOfEcho(guest, `http://${service}/echo`, 3_000_000);
    expect(returned).toBe(sent);
    expect(await dig(guest, service, "a.test")).toBe("203.0.113.53");
    await ping(guest, service);
  });
});

describe("GSO", () => {
  beforeAll(async () => {
    await setOffloads(guest, "eth0", "on");
    await setOffloads(lab.host, guest.vif, "on");
    await setOffloads(lab.host, "fab0", "on");
  });

  test.each([
    ["upload, host-local", LOCAL, [], "forwarded"],
    ["download, host-local", LOCAL, ["--reverse"], "returned"],
    ["upload, fabric", FABRIC, [], "forwarded"],
    ["download, fabric", FABRIC, ["--reverse"], "returned"],
  ] as const)("%s: frames stay whole, and none is lost", async (_title, service, options, reason) => {
    const bytes = 300_000_000;
    const before = (await statusOf(lab)).counters[reason];
    const { end } = JSON.parse(
      await output(guest, ["iperf3", "--client", service, "--bytes", String(bytes), "--json", ...options]),
    );
    // The server is told to stop before it has read the last of it.
    expect(end.sum_received.bytes).toBeGreaterThan(0.9 * bytes);
    // Queues overflow now and then, as without onlink; a wrong checksum or length would be a matter of every frame.
    expect(end.sum_sent.retransmits).toBeLessThan(bytes / 1448 / 50);
    const after = (await statusOf(lab)).counters[reason];
    const meanLength =
      (Number(after.bytes) - Number(before.bytes)) / (Number(after.frames) - Number(before.frames));
    expect(meanLength).toBeGreaterThan(10 * 1514);
  });
});

test("IP options of the guest's own stack", async () => {
  expect(await output(guest, ["ping", "-c1", "-W5", "-R", LOCAL])).toContain("RR:");
});
