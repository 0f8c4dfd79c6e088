import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  arpAnnouncement,
  arpProbe,
  arpReply,
  arpRequest,
  echoReply,
  echoRequest,
  ethernetFrame,
  icmpError,
  ipv4Frame,
  tcpFrame,
  udpFrame,
} from "./build.ts";
import { frameErrors, parseFrame } from "./frame.ts";
import { toHex } from "./hex.ts";
import { TCP_FLAG } from "./tcp.ts";

const ENDS = {
  sourceMac: "02:00:0a:00:01:03",
  destinationMac: "00:00:5e:00:01:00",
  source: "10.0.1.3",
  destination: "169.254.169.254",
};
const text = (value: string) => new TextEncoder().encode(value);

function network(bytes: Uint8Array) {
  const frame = parseFrame(bytes);
  if (!frame.ok) throw new Error(frame.error.message);
  return frame.value.network;
}

// Checksums and lengths of these were confirmed by tcpdump 4.99 (-vvv).
describe("frozen bytes", () => {
  test("TCP SYN with options", () => {
    const frame = tcpFrame({
      ...ENDS,
      sourcePort: 40000,
      destinationPort: 80,
      flags: TCP_FLAG.syn,
      tcp: { sequence: 1, options: Uint8Array.of(2, 4, 5, 180, 1) },
    });
    expect(toHex(frame)).toBe(
      "00005e00010002000a000103080045000030000000004006" +
        "1bc90a000103a9fea9fe9c40005000000001000000007002faf090a00000020405b401000000",
    );
  });

  test("UDP, padded to 60 bytes", () => {
    const frame = udpFrame({ ...ENDS, sourcePort: 1, destinationPort: 2, data: text("abc"), padTo: 60 });
    expect(toHex(frame)).toBe(
      "00005e00010002000a00010308004500001f000000004011" +
        "1bcf0a000103a9fea9fe00010002000bdc72616263000000000000000000000000000000",
    );
  });

  test("echo request", () => {
    const frame = echoRequest({ ...ENDS, identifier: 7, sequence: 1, data: text("ping") });
    expect(toHex(frame)).toBe(
      "00005e00010002000a0001030800450000200000000040011bde0a000103a9fea9fe080019270007000170696e67",
    );
  });

  test("ARP reply", () => {
    const frame = arpReply({
      senderMac: "00:00:5e:00:01:00",
      senderAddress: "169.254.169.254",
      targetMac: "02:00:0a:00:01:03",
      targetAddress: "10.0.1.3",
    });
    expect(toHex(frame)).toBe(
      "02000a00010300005e0001000806000108000604000200005e000100a9fea9fe02000a0001030a000103",
    );
  });
});

test("ARP probe and announcement", () => {
  const senderMac = ENDS.sourceMac;
  expect(network(arpProbe({ senderMac, targetAddress: "169.254.1.1" }))).toMatchObject({
    senderAddress: "0.0.0.0",
    targetAddress: "169.254.1.1",
  });
  expect(network(arpAnnouncement({ senderMac, address: "169.254.1.1" }))).toMatchObject({
    operation: 1,
    senderAddress: "169.254.1.1",
    targetAddress: "169.254.1.1",
  });
});

test("an ARP frame can claim one MAC and come from another", () => {
  const bytes = arpRequest({
    senderMac: "02:00:0a:00:01:03",
    senderAddress: "10.0.1.3",
    targetAddress: "169.254.169.254",
    sourceMac: "02:00:00:00:00:99",
    destinationMac: "00:00:5e:00:01:00",
    arp: { operation: 9, targetMac: "02:00:00:00:00:98" },
    padTo: 60,
  });
  expect(parseFrame(bytes)).toMatchObject({
    ok: true,
    value: {
      source: "02:00:00:00:00:99",
      destination: "00:00:5e:00:01:00",
      network: {
        operation: 9,
        senderMac: "02:00:0a:00:01:03",
        targetMac: "02:00:00:00:00:98",
        trailer: { length: 18 },
      },
    },
  });
});

const port = fc.integer({ min: 0, max: 65535 });
const data = fc.uint8Array({ maxLength: 100, size: "max" });
const options = fc.uint8Array({ maxLength: 40, size: "max" });

test("TCP frames are right, whatever they carry", () => {
  fc.assert(
    fc.property(
      port,
      port,
      data,
      options,
      options,
      (sourcePort, destinationPort, data, ipOptions, tcpOptions) => {
        const bytes = tcpFrame({
          ...ENDS,
          sourcePort,
          destinationPort,
          data,
          ip: { options: ipOptions },
          tcp: { options: tcpOptions },
          padTo: 60,
        });
        expect(frameErrors(bytes)).toEqual([]);
        expect(network(bytes)).toMatchObject({
          transport: { kind: "tcp", sourcePort, destinationPort, data },
        });
      },
    ),
  );
});

test("UDP frames are right, whatever they carry, and never without checksum by chance", () => {
  fc.assert(
    fc.property(port, port, data, (sourcePort, destinationPort, data) => {
      const bytes = udpFrame({ ...ENDS, sourcePort, destinationPort, data });
      expect(frameErrors(bytes)).toEqual([]);
      expect(network(bytes)).toMatchObject({ transport: { kind: "udp", sourcePort, destinationPort, data } });
      expect(network(bytes)).not.toMatchObject({ transport: { checksum: 0 } });
    }),
  );
});

test("a UDP checksum that comes out as zero is sent as all ones", () => {
  const before = network(udpFrame({ ...ENDS, sourcePort: 1, destinationPort: 2, data: Uint8Array.of(0, 0) }));
  const checksum = before.kind === "ipv4" && before.transport.kind === "udp" ? before.transport.checksum : 0;
  const balanced = Uint8Array.of(checksum >> 8, checksum & 0xff);
  const bytes = udpFrame({ ...ENDS, sourcePort: 1, destinationPort: 2, data: balanced });
  expect(network(bytes)).toMatchObject({ transport: { checksum: 0xffff } });
  expect(frameErrors(bytes)).toEqual([]);
});

test("echo frames and ICMP errors are right", () => {
  const quoted = udpFrame({ ...ENDS, sourcePort: 1, destinationPort: 2 }).subarray(14);
  for (const bytes of [
    echoReply({ ...ENDS, identifier: 1, sequence: 65535, data: text("odd") }),
    icmpError({ ...ENDS, type: 3, code: 4, parameter: 1400, quoted }),
  ])
    expect(frameErrors(bytes)).toEqual([]);
});

describe("wrong frames on request", () => {
  const tcp = { ...ENDS, sourcePort: 1, destinationPort: 2 };
  const echo = { ...ENDS, identifier: 1, sequence: 1 };
  test.each([
    ["ipv4 headerLength", tcpFrame({ ...tcp, ip: { headerLength: 16 } })],
    ["ipv4 headerLength", tcpFrame({ ...tcp, ip: { headerLength: 60 } })],
    ["ipv4 totalLength", tcpFrame({ ...tcp, ip: { totalLength: 41 } })],
    ["ipv4 totalLength", tcpFrame({ ...tcp, ip: { totalLength: 19 } })],
    ["ipv4 checksum", tcpFrame({ ...tcp, ip: { checksum: 1 } })],
    ["tcp headerLength", tcpFrame({ ...tcp, tcp: { headerLength: 24 } })],
    ["tcp checksum", tcpFrame({ ...tcp, tcp: { checksum: 1 } })],
    ["udp length", udpFrame({ ...tcp, udp: { length: 9 } })],
    ["udp checksum", udpFrame({ ...tcp, udp: { checksum: 1 } })],
    ["icmp checksum", echoRequest({ ...echo, icmp: { checksum: 1 } })],
    ["tcp header", ipv4Frame({ ...ENDS, protocol: 6, payload: new Uint8Array(19) })],
    ["arp header", ethernetFrame({ ...ENDS, etherType: 0x0806, payload: new Uint8Array(27) })],
  ])("%s is the only thing wrong", (expected, bytes) => {
    expect(frameErrors(bytes).map(({ layer, field }) => `${layer} ${field}`)).toEqual([expected]);
  });

  test("UDP without checksum", () => {
    const bytes = udpFrame({ ...tcp, udp: { checksum: 0 } });
    expect(network(bytes)).toMatchObject({ transport: { checksum: 0 } });
    expect(frameErrors(bytes)).toEqual([]);
  });

  test("a later fragment", () => {
    const bytes = ipv4Frame({
      ...ENDS,
      protocol: 17,
      payload: new Uint8Array(8),
      ip: { fragmentOffset: 1480 },
    });
    expect(network(bytes)).toMatchObject({ fragmentOffset: 1480, transport: { kind: "fragment" } });
  });

  test("a field that does not fit is the caller's mistake", () => {
    expect(() => tcpFrame({ ...tcp, destinationPort: 70000 })).toThrow("destinationPort: 70000");
    expect(() => tcpFrame({ ...tcp, source: "10.1" })).toThrow('"10.1" is not an IPv4 address');
  });
});
