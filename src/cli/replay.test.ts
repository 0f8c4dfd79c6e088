import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { arpAnnouncement, arpReply, arpRequest, tcpFrame } from "../packet/build.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { type CapturedPacket, LINK_TYPE_ETHERNET } from "../packet/pcap.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import { type ReplayedPacket, replay, replayState } from "./replay.ts";

const SERVICE = "169.254.169.254";
const MAC = "02:00:0a:00:01:03";
const S = 1_000_000_000n;

const config = configOf(`
services:
  - { name: web, address: ${SERVICE}, port: 80, backends: ["192.0.2.1:8080"] }
interfaces:
  - name: tap0
    addresses: [10.0.1.3]
    gateway: { address: 10.0.1.1, answerArp: true }
defaults: { unknownPort: drop }
limits: { flowsPerInterface: 1 }
`);

function configOf(text: string): Config {
  const result = parseConfig(text, "test.yaml");
  if (!result.ok) throw new Error(result.errors[0]?.message);
  return result.config;
}

function packet(
  bytes: Uint8Array,
  timestamp: bigint | undefined = 0n,
  changes: Partial<CapturedPacket> = {},
) {
  return {
    timestamp,
    linkType: LINK_TYPE_ETHERNET,
    bytes,
    originalLength: bytes.length,
    interfaceName: undefined,
    ...changes,
  };
}

/** Without a rule, unless one is asked for. */
function run(packets: CapturedPacket[], rule?: Config["interfaces"][number]): ReplayedPacket[] {
  return [...replay(replayState(config, rule), packets)];
}

const fromGuest = (flags: number, sourcePort = 40000) =>
  tcpFrame({
    sourceMac: MAC,
    destinationMac: GATEWAY_MAC,
    source: "10.0.1.3",
    destination: SERVICE,
    sourcePort,
    destinationPort: 80,
    flags,
  });
const toGuest = (flags: number, sourceMac = GATEWAY_MAC) =>
  tcpFrame({
    sourceMac,
    destinationMac: MAC,
    source: SERVICE,
    destination: "10.0.1.3",
    sourcePort: 80,
    destinationPort: 40000,
    flags,
  });

describe("replay", () => {
  it("answers the ARP request of a Windows guest", () => {
    expect(run([packet(windowsArpRequest(), 5n)])).toEqual([
      {
        number: 1,
        time: 0n,
        length: 42,
        captured: 42,
        frame:
          "02:21:87:a4:05:0c > ff:ff:ff:ff:ff:ff, ARP request who-has 169.254.169.254 tell 172.31.0.7, length 42",
        from: "guest",
        verdict: "send",
        reason: "arp-reply",
        row: "A1",
        sentence: "ARP request for 169.254.169.254: would be answered with 00:00:5e:00:01:00 (A1)",
        flowsOpened: 0,
      },
    ]);
  });

  it("takes what comes from the gateway MAC or a service address as answers, but not a claim by ARP", () => {
    const reply = { targetMac: MAC, senderAddress: SERVICE, targetAddress: "10.0.1.3" };
    const packets = run([
      packet(arpReply({ ...reply, senderMac: GATEWAY_MAC })),
      packet(toGuest(TCP_FLAG.ack)),
      packet(toGuest(TCP_FLAG.ack, "02:00:00:00:00:99")),
      packet(arpReply({ ...reply, senderMac: "02:00:00:00:00:99" })),
      packet(arpAnnouncement({ senderMac: MAC, address: SERVICE })),
    ]);
    expect(packets.map(({ from, row, sentence }) => [from, row, sentence.replace(/^.*: /, "")])).toEqual([
      ["service", undefined, "not from the guest"],
      ["service", undefined, "not from the guest"],
      ["service", undefined, "not from the guest"],
      [
        "guest",
        "A3",
        "would be answered with an ARP announcement of 169.254.169.254 at 00:00:5e:00:01:00, the guest claims a service address for itself (A3)",
      ],
      ["guest", "A3", "would be dropped, the guest claims a service address for itself (A3)"],
    ]);
  });

  it("lets answers carry the flow on, so that it stays as long as it did", () => {
    const packets = run([
      packet(fromGuest(TCP_FLAG.syn), 0n),
      packet(toGuest(TCP_FLAG.syn | TCP_FLAG.ack), 1n * S),
      packet(fromGuest(TCP_FLAG.ack), 2n * S),
      // Longer than a flow stays that nobody answered.
      packet(fromGuest(TCP_FLAG.ack), 600n * S),
      packet(toGuest(TCP_FLAG.rst), 601n * S),
      packet(fromGuest(TCP_FLAG.ack), 700n * S),
    ]);
    expect(packets.map(({ from, reason, sentence }) => reason ?? `${from}: ${sentence}`)).toEqual([
      "forwarded",
      "service: not from the guest: answers a flow",
      "forwarded",
      "forwarded",
      "service: not from the guest: answers a flow",
      "no-flow",
    ]);
    expect(packets.map(({ flowsOpened }) => flowsOpened)).toEqual([1, 0, 0, 0, 0, 0]);
  });

  it("ends idle flows as the datapath does, so that they do not count for limits", () => {
    const second = (at: bigint) =>
      run([packet(fromGuest(TCP_FLAG.syn), 0n), packet(fromGuest(TCP_FLAG.syn, 40001), at)])[1]?.reason;
    expect(second(60n * S)).toBe("limit");
    expect(second(62n * S)).toBe("forwarded");
  });

  it("does not let the datapath's time go back with the capture's", () => {
    const packets = run([
      packet(windowsArpRequest(), 0n),
      packet(fromGuest(TCP_FLAG.syn), 100n * S),
      packet(fromGuest(TCP_FLAG.ack), 30n * S),
      packet(fromGuest(TCP_FLAG.ack), 95n * S),
    ]);
    expect(packets.map(({ reason }) => reason)).toEqual(["arp-reply", "forwarded", "forwarded", "forwarded"]);
  });

  it("knows of an interface what its rule says", () => {
    const rule = config.interfaces[0];
    const gateway = packet(
      arpRequest({ senderMac: MAC, senderAddress: "10.0.1.3", targetAddress: "10.0.1.1" }),
    );
    expect(run([gateway])[0]?.row).toBe("A5");
    expect(run([gateway], rule)[0]?.row).toBe("A4");
    const other = tcpFrame({
      sourceMac: MAC,
      destinationMac: GATEWAY_MAC,
      source: "10.9.9.9",
      destination: SERVICE,
      sourcePort: 1,
      destinationPort: 81,
    });
    expect(run([packet(other)])[0]).toMatchObject({ reason: "unknown-port", verdict: "drop" });
    expect(run([packet(other)], rule)[0]?.reason).toBe("spoofed");
  });

  it("does not mind what a snap length cut off, and takes a length that cannot be as it is", () => {
    const data = new Uint8Array(500);
    const whole = tcpFrame({
      sourceMac: MAC,
      destinationMac: GATEWAY_MAC,
      source: "10.0.1.3",
      destination: SERVICE,
      sourcePort: 40000,
      destinationPort: 80,
      flags: TCP_FLAG.ack,
      data,
    });
    const cut = packet(whole.subarray(0, 96), 0n, { originalLength: whole.length });
    expect(run([packet(fromGuest(TCP_FLAG.syn)), cut])[1]).toMatchObject({
      reason: "forwarded",
      length: 554,
      captured: 96,
    });
    const lie = packet(whole.subarray(0, 96), 0n, { originalLength: 2 ** 32 - 1 });
    expect(run([lie])[0]?.reason).toBe("malformed");
  });

  it("says so of a packet that is no Ethernet frame", () => {
    expect(run([packet(Uint8Array.of(1), 0n, { linkType: 113 })])[0]).toMatchObject({
      from: "none",
      frame: "packet of link type 113, length 1",
      sentence: expect.stringContaining("not an Ethernet frame"),
    });
  });

  it("gives each packet its time since the first, also where time goes back or is missing", () => {
    const frame = windowsArpRequest();
    const times = run([
      packet(frame, 0n, { timestamp: undefined }),
      packet(frame, 10n * S),
      packet(frame, 12n * S),
      packet(frame, 11n * S),
      packet(frame, 0n, { timestamp: undefined }),
    ]).map(({ time }) => time);
    expect(times).toEqual([undefined, 0n, 2n * S, 1n * S, undefined]);
  });

  it("takes any bytes", () => {
    const anyPacket = fc.record({
      timestamp: fc.option(fc.bigInt({ min: 0n, max: 2n ** 63n }), { nil: undefined }),
      linkType: fc.constantFrom(LINK_TYPE_ETHERNET, 0, 113),
      bytes: fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.tuple(fc.nat(60), fc.nat(255)).map(([at, value]) => fromGuest(TCP_FLAG.syn).with(at % 54, value)),
      ),
      originalLength: fc.oneof(fc.nat(200), fc.nat(2 ** 31)),
      interfaceName: fc.constant(undefined),
    });
    fc.assert(
      fc.property(fc.array(anyPacket), (packets) => {
        const replayed = run(packets);
        expect(replayed.map(({ number }) => number)).toEqual(packets.map((_, index) => index + 1));
        for (const { from, verdict } of replayed) expect(verdict !== undefined).toBe(from === "guest");
      }),
    );
  });
});

it("needs neither Linux nor root: nothing that trace imports is native", () => {
  const seen = new Set<string>();
  const visit = (file: URL) => {
    if (seen.has(file.pathname)) return;
    seen.add(file.pathname);
    for (const [, from = ""] of readFileSync(file, "utf8").matchAll(
      /^(?:import|export)(?! type\b)[^;]*? from "([^"]+)";/gm,
    )) {
      if (from.startsWith(".")) visit(new URL(from, file));
      else seen.add(from);
    }
  };
  visit(new URL("./trace.ts", import.meta.url));
  expect(seen.size).toBeGreaterThan(30);
  expect([...seen].filter((name) => /koffi|src\/(linux|datapath)\//.test(name))).toEqual([]);
});
