import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arpRequest, echoRequest, ethernetFrame, icmpError, ipv4Frame, tcpFrame, udpFrame } from "./build.ts";
import { describeFrame } from "./describe.ts";
import { windowsArpRequest } from "./fixtures.ts";
import { fragmentFrame } from "./fragment.ts";
import { encodeFrame, frameErrors, parseFrame } from "./frame.ts";
import { TCP_FLAG } from "./tcp.ts";

const ENDS = {
  sourceMac: "02:00:0a:00:01:03",
  destinationMac: "00:00:5e:00:01:00",
  source: "10.0.1.3",
  destination: "169.254.169.254",
};
const PORTS = { ...ENDS, sourcePort: 40000, destinationPort: 80 };

test("an ARP request, padded", () => {
  const bytes = new Uint8Array(60);
  bytes.set(windowsArpRequest());
  expect(parseFrame(bytes)).toMatchObject({
    ok: true,
    value: {
      source: "02:21:87:a4:05:0c",
      network: { kind: "arp", targetAddress: "169.254.169.254", trailer: { length: 18 } },
    },
  });
});

test("a TCP segment without data has none, for all the padding", () => {
  const bytes = tcpFrame({ ...PORTS, flags: TCP_FLAG.syn, padTo: 60 });
  expect(bytes).toHaveLength(60);
  const frame = parseFrame(bytes);
  expect(frame).toMatchObject({
    ok: true,
    value: {
      network: {
        kind: "ipv4",
        source: "10.0.1.3",
        transport: { kind: "tcp", destinationPort: 80, flags: TCP_FLAG.syn, data: { length: 0 } },
        trailer: { length: 6 },
      },
    },
  });
});

test("payloads are views of the frame", () => {
  const bytes = udpFrame({ ...PORTS, data: Uint8Array.of(1) });
  const frame = parseFrame(bytes);
  bytes[42] = 2;
  expect(frame).toMatchObject({ ok: true, value: { network: { transport: { data: Uint8Array.of(2) } } } });
});

test("a first fragment has its transport header, later ones do not", () => {
  const [first, later] = fragmentFrame(udpFrame({ ...PORTS, data: new Uint8Array(100).fill(7) }), 56);
  expect(parseFrame(first!)).toMatchObject({
    ok: true,
    value: {
      network: { moreFragments: true, transport: { kind: "udp", length: 108, data: { length: 48 } } },
    },
  });
  expect(parseFrame(later!)).toMatchObject({
    ok: true,
    value: { network: { transport: { kind: "fragment" } } },
  });
  expect(frameErrors(first!)).toEqual([]);
});

test("what is wrong further in leaves the layers before it readable", () => {
  expect(parseFrame(ipv4Frame({ ...ENDS, protocol: 6, payload: new Uint8Array(4) }))).toMatchObject({
    ok: true,
    value: {
      network: {
        kind: "ipv4",
        destination: "169.254.169.254",
        transport: { kind: "malformed", error: { layer: "tcp", field: "header" }, bytes: { length: 4 } },
      },
    },
  });
  expect(parseFrame(tcpFrame({ ...PORTS, ip: { headerLength: 16 } }))).toMatchObject({
    ok: true,
    value: { etherType: 0x0800, network: { kind: "malformed", error: { field: "headerLength" } } },
  });
});

test("other protocols are kept as bytes", () => {
  expect(parseFrame(ipv4Frame({ ...ENDS, protocol: 47, payload: Uint8Array.of(1) }))).toMatchObject({
    ok: true,
    value: { network: { protocol: 47, transport: { kind: "other", bytes: Uint8Array.of(1) } } },
  });
  expect(parseFrame(ethernetFrame({ ...ENDS, etherType: 0x86dd, payload: Uint8Array.of(1) }))).toMatchObject({
    ok: true,
    value: { etherType: 0x86dd, network: { kind: "other", bytes: Uint8Array.of(1) } },
  });
});

describe("any bytes", () => {
  const samples = [
    windowsArpRequest(),
    Uint8Array.from([...windowsArpRequest(), ...new Uint8Array(18).fill(0xee)]),
    tcpFrame({ ...PORTS, data: new Uint8Array(9), tcp: { options: new Uint8Array(8) }, padTo: 80 }),
    udpFrame({ ...PORTS, data: new Uint8Array(30), ip: { options: new Uint8Array(12) } }),
    echoRequest({ ...ENDS, identifier: 1, sequence: 2, data: new Uint8Array(8) }),
    icmpError({ ...ENDS, type: 3, code: 3, quoted: udpFrame(PORTS).subarray(14) }),
    ...fragmentFrame(udpFrame({ ...PORTS, data: new Uint8Array(40) }), 24),
    tcpFrame({ ...PORTS, vlanTags: [{ type: 0x8100, priority: 0, dropEligible: false, id: 1 }] }),
  ];
  const change = fc.record({ at: fc.nat(100), value: fc.integer({ min: 0, max: 255 }) });
  // Right frames with a few bytes changed and the end cut off get deeper into the parsers than noise does.
  const damaged = fc
    .record({
      sample: fc.constantFrom(...samples),
      changes: fc.array(change, { maxLength: 4, size: "max" }),
      length: fc.nat(120),
    })
    .map(({ sample, changes, length }) => {
      const bytes = sample.slice(0, length);
      for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });

  test("never a throw; what is parsed is encoded as it was", () => {
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 100, size: "max" })), (bytes) => {
        const frame = parseFrame(bytes);
        expect(frame.ok).toBe(bytes.length >= 14);
        if (frame.ok) expect(encodeFrame(frame.value)).toEqual(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  test("checking and describing never throw either, and a description is one line", () => {
    fc.assert(
      fc.property(damaged, (bytes) => {
        frameErrors(bytes);
        expect(describeFrame(bytes)).toMatch(/^[\x20-\x7e]+$/);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("frameErrors", () => {
  const change = (bytes: Uint8Array, at: number) => {
    bytes[at]! ^= 1;
    return bytes;
  };

  test("a changed byte shows at its layer", () => {
    const layers = (bytes: Uint8Array) => frameErrors(bytes).map(({ layer }) => layer);
    expect(layers(tcpFrame(PORTS))).toEqual([]);
    expect(layers(change(tcpFrame(PORTS), 22))).toEqual(["ipv4"]);
    expect(layers(change(tcpFrame(PORTS), 40))).toEqual(["tcp"]);
    expect(layers(change(tcpFrame(PORTS), 26))).toEqual(["ipv4", "tcp"]);
    expect(layers(change(udpFrame(PORTS), 34))).toEqual(["udp"]);
    expect(layers(change(echoRequest({ ...ENDS, identifier: 1, sequence: 1 }), 39))).toEqual(["icmp"]);
    expect(
      layers(
        arpRequest({
          ...ENDS,
          senderMac: ENDS.sourceMac,
          senderAddress: ENDS.source,
          targetAddress: "10.0.1.1",
        }),
      ),
    ).toEqual([]);
    expect(layers(new Uint8Array(13))).toEqual(["ethernet"]);
  });

  test("the message has both checksums", () => {
    const [right] = frameErrors(tcpFrame({ ...PORTS, ip: { checksum: 0x0001 } }));
    expect(right?.message).toBe("the ipv4 checksum is 0x0001, right is 0x1bd1");
  });

  test("UDP without checksum is right", () => {
    expect(frameErrors(udpFrame({ ...PORTS, udp: { checksum: 0 } }))).toEqual([]);
  });

  test("bytes beyond the UDP length are not summed", () => {
    const datagram = udpFrame({ ...PORTS, data: Uint8Array.of(1, 2) }).subarray(34);
    const surplus = ipv4Frame({ ...ENDS, protocol: 17, payload: Uint8Array.from([...datagram, 9, 9, 9]) });
    expect(frameErrors(surplus)).toEqual([]);
  });
});
