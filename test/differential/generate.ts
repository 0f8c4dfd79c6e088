/**
 * What the differential test feeds: sequences of frames and of what happens between them. The domains are small, so that frames meet flows,
 * replies find them and ports collide; and every frame may be damaged.
 */
import fc from "fast-check";
import { BROADCAST_MAC, GATEWAY_MAC } from "../../src/packet/address.ts";
import { encodeArp } from "../../src/packet/arp.ts";
import { ethernetFrame, icmpError, ipv4Frame, tcpFrame, udpFrame } from "../../src/packet/build.ts";
import { encodeIcmp } from "../../src/packet/icmp.ts";

export const GUEST_MAC = "02:00:0a:00:01:03";
export const ROUTER_MAC = "02:00:0a:00:01:01";
export const HOST_MAC = "02:00:00:00:00:01";
export const GATEWAY = "10.0.1.1";
/** The first is that of most services, the second, outside 169.254/16, has one with the same backend; the third has none. */
export const SERVICES = ["169.254.169.254", "100.100.100.200", "169.254.169.123"] as const;
export const METADATA_ADDRESSES = ["169.254.64.2", "169.254.64.3"] as const;
export const BACKEND = "192.0.2.10";
export const FABRIC_SOURCE = "192.0.2.1";
export const GUESTS = ["10.0.1.3", "10.0.1.4"] as const;

/** One step of a sequence. */
export type Step =
  | { kind: "frame"; side: "vif"; vif: 0 | 1; frame: Uint8Array }
  | { kind: "frame"; side: "host" | "fabric"; frame: Uint8Array }
  /** Whoever got a frame that was sent before answers it: `about` says which, counted back from the last. */
  | { kind: "answer"; about: number; flags: number; data: Uint8Array }
  /** The same with an ICMP error, which quotes `length` bytes of the packet and comes from `router`, where it is not the receiver's own. */
  | {
      kind: "error";
      about: number;
      type: number;
      code: number;
      length: number;
      router: string | undefined;
      damage: Damage;
    }
  | { kind: "advance"; seconds: number }
  | { kind: "reject-limit"; vif: 0 | 1; exhausted: boolean };

/** Bytes that are overwritten (offset, value), and where the frame ends early. */
export interface Damage {
  writes: Array<[number, number]>;
  cut: number | undefined;
}

/** A sequence, and how the vifs are configured in it. */
export interface Sequence {
  vif: {
    addresses: string[];
    mac: string | undefined;
    gateway: string | undefined;
    antiSpoof: boolean;
    unknownPort: "reject" | "drop";
    arpReply: "unicast" | "broadcast";
  };
  limits: { maxFlows: number; maxFlowsPerVif: number };
  fabricPorts: { min: number; max: number };
  steps: Step[];
}

const of = <T>(...values: T[]) => fc.constantFrom(...values);
const often = <T>(usual: fc.Arbitrary<T>, seldom: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: seldom });
const anyAddress = fc
  .tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
  .map((parts) => parts.join("."));
const oddAddress = fc.oneof(
  of("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.7.9", "198.51.100.7", ...SERVICES),
  anyAddress,
);

const guestAddress = often(of<string>(...GUESTS, "169.254.7.9"), oddAddress);
const serviceAddress = often(of<string>(...SERVICES), oddAddress);
const guestMac = often(of(GUEST_MAC), of(GATEWAY_MAC, BROADCAST_MAC, "02:00:0a:00:01:04"));
const destinationMac = often(of(ROUTER_MAC, GATEWAY_MAC), of(BROADCAST_MAC, "01:00:5e:00:00:01"));
const guestPort = often(of(40000, 40001), of(0, 1, 22, 61000));
const servicePort = often(of(80, 81, 82, 83, 84, 53, 443, 123), of(0, 22, 40000, 65535));
const tcpFlags = often(of(0x02, 0x10, 0x12, 0x11, 0x04, 0x14, 0x01), fc.nat(0xff));
const data = fc.uint8Array({ maxLength: 64 });
const port16 = fc.nat(65535);

/** Fields of the IPv4 header that are not what they usually are. */
const ipFields = often(
  fc.constant({}),
  fc.record(
    {
      ttl: of(0, 1, 2, 64, 128, 255),
      identification: of(0, 1, 2, 17, 0x1234),
      dontFragment: fc.boolean(),
      tos: fc.nat(255),
      options: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      moreFragments: fc.boolean(),
      fragmentOffset: of(0, 0, 8, 1480),
      checksum: port16,
      reservedFlag: fc.boolean(),
    },
    { requiredKeys: [] },
  ),
);

/** How a fragment is one: the identifications are few, so that later ones meet their first. */
const fragmentFields = fc.record({
  identification: of(1, 2, 17),
  moreFragments: fc.boolean(),
  fragmentOffset: of(0, 0, 8, 1480),
});

const padding = often(fc.constant({}), fc.record({ padTo: of(60, 100) }));

const withIp = <T>(build: (fields: { ip: object; padTo?: number }) => T) =>
  fc
    .tuple(ipFields, fc.option(fragmentFields, { freq: 6, nil: {} }), padding)
    .map(([ip, fragment, pad]) => build({ ip: { ...ip, ...fragment }, ...pad }));

interface Path {
  sourceMac: string;
  destinationMac: string;
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
}

/** A TCP, UDP or other frame on a path. */
function transportFrame(path: fc.Arbitrary<Path>): fc.Arbitrary<Uint8Array> {
  const tcp = fc
    .tuple(
      path,
      tcpFlags,
      data,
      often(
        fc.constant({}),
        fc.record({ checksum: port16, headerLength: of(0, 16, 20, 24, 60) }, { requiredKeys: [] }),
      ),
      fc.record({ sequence: fc.nat(2 ** 32 - 1), acknowledgement: fc.nat(2 ** 32 - 1) }),
      fc.option(fc.uint8Array({ minLength: 4, maxLength: 12 }), { freq: 3, nil: new Uint8Array(0) }),
    )
    .chain(([fields, flags, bytes, odd, numbers, options]) =>
      withIp((ip) =>
        tcpFrame({ ...fields, flags, data: bytes, tcp: { ...numbers, options, ...odd }, ...ip }),
      ),
    );
  const udp = fc
    .tuple(
      path,
      data,
      often(
        fc.constant({}),
        fc.record({ checksum: of(0, 1, 0xffff), length: of(0, 7, 8, 9, 2000) }, { requiredKeys: [] }),
      ),
    )
    .chain(([fields, bytes, odd]) => withIp((ip) => udpFrame({ ...fields, data: bytes, udp: odd, ...ip })));
  const other = fc
    .tuple(path, of(2, 47, 50, 132, 255), fc.uint8Array({ maxLength: 24 }))
    .chain(([fields, protocol, payload]) =>
      withIp((ip) => ipv4Frame({ ...fields, protocol, payload, ...ip })),
    );
  return fc.oneof(
    { weight: 5, arbitrary: tcp },
    { weight: 4, arbitrary: udp },
    { weight: 1, arbitrary: other },
  );
}

/** An echo, or any other ICMP message that is not an error. */
function queryFrame(path: fc.Arbitrary<Path>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(path, often(of(0, 8), fc.nat(20)), often(fc.constant(0), fc.nat(255)), of(0, 7, 8), data)
    .chain(([fields, type, code, identifier, bytes]) =>
      withIp((ip) => {
        const message = {
          kind: "echo",
          type,
          code,
          checksum: 0,
          identifier,
          sequence: 1,
          data: bytes,
        } as const;
        const payload = encodeIcmp(message);
        return ipv4Frame({ ...fields, protocol: 1, payload: withIcmpChecksum(payload), ...ip });
      }),
    );
}

/** An ICMP error whose quoted packet is one that the sender of the error has got. */
function errorFrame(outer: fc.Arbitrary<Path>, quoted: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(outer, quoted, often(of(3, 11), of(4, 5, 12)), fc.nat(15), often(of(28, 548), fc.nat(100)))
    .chain(([fields, packet, type, code, length]) =>
      withIp((ip) =>
        icmpError({
          ...fields,
          type,
          code,
          quoted: packet.subarray(14, 14 + length),
          ...ip,
        }),
      ),
    );
}

function withIcmpChecksum(bytes: Uint8Array): Uint8Array {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const done = bytes.slice();
  new DataView(done.buffer).setUint16(2, ~sum & 0xffff);
  return done;
}

const guestToService: fc.Arbitrary<Path> = fc.record({
  sourceMac: guestMac,
  destinationMac,
  source: guestAddress,
  destination: serviceAddress,
  sourcePort: guestPort,
  destinationPort: servicePort,
});
/** As the guest gets it: what its ICMP errors quote. */
const serviceToGuest: fc.Arbitrary<Path> = guestToService.map((path) => reversed(path));
const metadataAddress = often(of<string>(...METADATA_ADDRESSES), oddAddress);
const backendPort = often(of(8080, 5353), of(53, 40000, 0));
const hostToGuest: fc.Arbitrary<Path> = fc.record({
  sourceMac: of(HOST_MAC),
  destinationMac: of(HOST_MAC),
  source: often(of("127.0.0.1", "127.0.0.2"), oddAddress),
  destination: metadataAddress,
  sourcePort: backendPort,
  destinationPort: guestPort,
});
const natPort = often(of(61000, 61001, 61003), of(61004, 60999, 40000));
const fabricToHost = (fabricMac: string): fc.Arbitrary<Path> =>
  fc.record({
    sourceMac: of(ROUTER_MAC),
    destinationMac: often(of(fabricMac), of(ROUTER_MAC, BROADCAST_MAC)),
    source: often(of(BACKEND), of("192.0.2.11")),
    destination: often(of(FABRIC_SOURCE), of("192.0.2.2")),
    sourcePort: often(of(8443, 123), of(443)),
    destinationPort: natPort,
  });

function reversed({ source, destination, sourcePort, destinationPort, ...macs }: Path): Path {
  return {
    ...macs,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
  };
}

const arpAddress = fc.oneof(
  of<string>(...SERVICES, ...GUESTS, GATEWAY, "0.0.0.0", "169.254.7.9"),
  anyAddress,
);
const arpFrame = fc
  .tuple(
    often(of(1, 2), fc.nat(65535)),
    guestMac,
    arpAddress,
    of("00:00:00:00:00:00", ROUTER_MAC),
    arpAddress,
    destinationMac,
    padding,
  )
  .map(([operation, senderMac, senderAddress, targetMac, targetAddress, destination, pad]) =>
    ethernetFrame({
      sourceMac: GUEST_MAC,
      destinationMac: destination,
      etherType: 0x0806,
      payload: encodeArp({ operation, senderMac, senderAddress, targetMac, targetAddress }),
      ...pad,
    }),
  );

const vlanFrame = fc
  .tuple(guestToService, of(0x8100, 0x88a8))
  .map(([path, type]) =>
    tcpFrame({ ...path, flags: 2, vlanTags: [{ type, priority: 0, dropEligible: false, id: 5 }] }),
  );

const noise = fc.uint8Array({ minLength: 14, maxLength: 200 });

const NO_DAMAGE: Damage = { writes: [], cut: undefined };
const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 5, arbitrary: fc.constant(NO_DAMAGE) },
  {
    weight: 1,
    arbitrary: fc.record({
      writes: fc.array(fc.tuple(fc.nat(79), fc.nat(255)), { maxLength: 3 }),
      cut: fc.option(fc.nat(120), { freq: 2, nil: undefined }),
    }),
  },
);

/** The frame with the damage done. It keeps 34 bytes: the kernel takes no shorter IPv4 frame for a test run. */
export function damagedFrame(bytes: Uint8Array, { writes, cut }: Damage): Uint8Array {
  const copy = bytes.slice(0, cut === undefined ? undefined : Math.max(34, cut));
  for (const [at, value] of writes) if (at < copy.length) copy[at] = value;
  return copy;
}

const damaged = (frame: fc.Arbitrary<Uint8Array>) =>
  fc.tuple(frame, damage).map(([bytes, how]) => damagedFrame(bytes, how));

/** What opens a flow, with nothing odd about it. */
const openingFrame = fc
  .tuple(of<string>(...GUESTS), fc.integer({ min: 40000, max: 40003 }), of(80, 443, 53, 123), data)
  .map(([source, sourcePort, destinationPort, bytes]) => {
    const path = { sourceMac: GUEST_MAC, destinationMac: ROUTER_MAC, source, destination: SERVICES[0] };
    return destinationPort === 80 || destinationPort === 443
      ? tcpFrame({ ...path, sourcePort, destinationPort, flags: 2, data: bytes })
      : udpFrame({ ...path, sourcePort, destinationPort, data: bytes });
  });

const vifFrame = damaged(
  fc.oneof(
    { weight: 4, arbitrary: openingFrame },
    { weight: 8, arbitrary: transportFrame(guestToService) },
    { weight: 3, arbitrary: arpFrame },
    { weight: 2, arbitrary: queryFrame(guestToService) },
    { weight: 2, arbitrary: errorFrame(guestToService, transportFrame(serviceToGuest)) },
    { weight: 1, arbitrary: fc.oneof(vlanFrame, noise) },
  ),
);
const hostFrame = damaged(
  fc.oneof(
    { weight: 6, arbitrary: transportFrame(hostToGuest) },
    { weight: 1, arbitrary: queryFrame(hostToGuest) },
    { weight: 2, arbitrary: errorFrame(hostToGuest, transportFrame(hostToGuest.map(reversed))) },
    { weight: 1, arbitrary: noise },
  ),
);
const fabricFrame = (mac: string) =>
  damaged(
    fc.oneof(
      { weight: 6, arbitrary: transportFrame(fabricToHost(mac)) },
      { weight: 1, arbitrary: queryFrame(fabricToHost(mac)) },
      {
        weight: 2,
        arbitrary: errorFrame(fabricToHost(mac), transportFrame(fabricToHost(mac).map(reversed))),
      },
      { weight: 1, arbitrary: noise },
    ),
  );

/** Sequences of up to `length` steps. `fabricMac`: of the interface that the fabric's frames come from. */
export function sequences(fabricMac: string, length: number): fc.Arbitrary<Sequence> {
  const vif = often(of<0 | 1>(0), of<0 | 1>(1));
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ kind: of("frame" as const), side: of("vif" as const), vif, frame: vifFrame }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ kind: of("frame" as const), side: of("host" as const), frame: hostFrame }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: of("frame" as const),
        side: of("fabric" as const),
        frame: fabricFrame(fabricMac),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ kind: of("answer" as const), about: fc.nat(5), flags: tcpFlags, data }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: of("error" as const),
        about: fc.nat(5),
        type: often(of(3, 11), of(4, 5, 12)),
        code: fc.nat(15),
        length: often(of(28, 46, 548), fc.nat(100)),
        router: of(undefined, "192.0.2.254"),
        damage,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: of("advance" as const), seconds: of(1, 5, 9, 11, 29, 31, 61, 181, 7201) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: of("reject-limit" as const), vif, exhausted: fc.boolean() }),
    },
  );
  return fc.record({
    vif: fc.record({
      addresses: of<string[]>([], [GUESTS[0]], [...GUESTS]),
      mac: of(undefined, GUEST_MAC),
      gateway: of(undefined, GATEWAY),
      antiSpoof: often(of(true), of(false)),
      unknownPort: often<"reject" | "drop">(of("reject" as const), of("drop" as const)),
      arpReply: of("unicast", "broadcast"),
    }),
    limits: of(
      { maxFlows: 1000, maxFlowsPerVif: 1000 },
      { maxFlows: 3, maxFlowsPerVif: 1000 },
      { maxFlows: 1000, maxFlowsPerVif: 2 },
    ),
    fabricPorts: of({ min: 61000, max: 61000 }, { min: 61000, max: 61003 }),
    steps: fc.array(step, { minLength: 1, maxLength: length, size: "max" }),
  });
}
