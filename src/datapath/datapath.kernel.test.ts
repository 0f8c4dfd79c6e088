/**
 * Single frames through the loaded programs (BPF_PROG_TEST_RUN). Nothing is attached: the frames belong to the loopback interface, ifindex 1, which
 * the maps know as a vif. What the redirects lead to is the business of the end-to-end tests.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BROADCAST_MAC, GATEWAY_MAC } from "../packet/address.ts";
import {
  arpAnnouncement,
  arpProbe,
  arpReply,
  arpRequest,
  echoReply,
  echoRequest,
  ethernetFrame,
  ipv4Frame,
  tcpFrame,
  udpFrame,
} from "../packet/build.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { frameErrors, parseFrame } from "../packet/frame.ts";
import { hexDump, toHex } from "../packet/hex.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import { openDatapath, removeDatapath } from "./datapath.ts";
import { shardAttributes } from "./flows.ts";
import { flowKeyLayout, flowLayout, settingsLayout, u32Layout } from "./layout.ts";
import { closeFd, createMap, getPinned, lookupElement, pinObject, updateElement } from "./libbpf.ts";
import type { StructValueOf } from "./struct.ts";
import { allFlows, HOST_MAC, METADATA_ADDRESS, openPrivateBpffs, SERVICE, SETTINGS, VIF } from "./testing.ts";
import type { Counters, Datapath, ProgramName, Reason } from "./types.ts";

/** TC_ACT_*: what a program returns. */
const UNTOUCHED = -1;
const DROP = 2;
/** From the host: on to the other end of onlink0, where nobody takes it. */
const TO_NOBODY = 0;
const REDIRECT = 7;

const LOOPBACK = 1;
const GUEST = "10.0.1.3";
const GUEST_MAC = "02:00:0a:00:01:03";
const ROUTER_MAC = "02:00:0a:00:01:01";
const FABRIC_SOURCE = "192.0.2.1";
/** An empty record-route option (RFC 791), padded. */
const RECORD_ROUTE = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0);
/** The loopback interface's own MAC: the fabric program looks only at frames for the host. */
const LOOPBACK_MAC = "00:00:00:00:00:00";

/** 16-bit words: all near either end, where carries ripple, and a sample of those between. */
const WORDS = Array.from({ length: 65536 }, (_, word) => word).filter(
  (word) => word < 600 || word >= 65536 - 600 || word % 61 === 0,
);

let bpffs: ReturnType<typeof openPrivateBpffs>;
let pinDir: string;
let datapath: Datapath;
let before: Counters;

beforeAll(() => {
  bpffs = openPrivateBpffs();
  pinDir = bpffs.path;
});

afterAll(() => bpffs.close());

beforeEach(() => {
  removeDatapath(pinDir);
  datapath = openDatapath({ pinDir, attach: "auto", flowCapacity: 1024 });
  datapath.setSettings(SETTINGS);
  datapath.setVif(LOOPBACK, VIF);
  addService(80, "tcp", 1, [{ kind: "host-local", address: "127.0.0.1", port: 8080 }]);
  addService(53, "udp", 2, [{ kind: "host-local", address: "127.0.0.1", port: 5353 }]);
  addService(443, "tcp", 3, [
    { kind: "fabric", address: "192.0.2.10", port: 8443, source: FABRIC_SOURCE, ifindex: 1 },
  ]);
  addService(123, "udp", 4, [
    { kind: "fabric", address: "192.0.2.10", port: 123, source: FABRIC_SOURCE, ifindex: 1 },
  ]);
  datapath.serviceAddresses.set(SERVICE, { services: 4 });
  before = datapath.counters();
  return () => datapath.close();
});

function addService(
  port: number,
  protocol: "tcp" | "udp",
  id: number,
  backends: Array<Parameters<Datapath["backends"]["set"]>[1]>,
) {
  for (const [slot, backend] of backends.entries()) datapath.backends.set({ service: id, slot }, backend);
  datapath.services.set(
    { address: SERVICE, port, protocol },
    { id, backends: backends.length, responseHopLimit: 64, whenNoBackend: "drop", drain: 0, drainEnds: 0n },
  );
}

/** How many frames each reason was counted for since the test began; reasons without any are left out. */
function counted(): Partial<Record<Reason, number>> {
  const now = datapath.counters();
  return Object.fromEntries(
    Object.entries(now)
      .map(([reason, { frames }]) => [reason, Number(frames - before[reason as Reason].frames)] as const)
      .filter(([, frames]) => frames > 0),
  );
}

/** The verdict, and that the frame left as it came. */
function expectUnchanged(program: ProgramName, frame: Uint8Array, verdict: number) {
  const result = datapath.run(program, frame);
  expect(result.verdict, hexDump(frame)).toBe(verdict);
  expect(toHex(result.frame)).toBe(toHex(frame));
}

/** The frame that a program sends on, checked to be without any fault. */
function redirected(program: ProgramName, frame: Uint8Array): Uint8Array {
  const result = datapath.run(program, frame);
  expect(result.verdict, hexDump(frame)).toBe(REDIRECT);
  expect(frameErrors(result.frame), hexDump(result.frame)).toEqual([]);
  return result.frame;
}

const fromGuest = { sourceMac: GUEST_MAC, destinationMac: ROUTER_MAC, source: GUEST, destination: SERVICE };
const syn = (fields: object = {}) =>
  tcpFrame({ ...fromGuest, sourcePort: 40000, destinationPort: 80, flags: TCP_FLAG.syn, ...fields });
const query = (fields: object = {}) =>
  udpFrame({ ...fromGuest, sourcePort: 40000, destinationPort: 53, data: Buffer.from("query"), ...fields });

describe("A1: ARP request for a service address", () => {
  it("answers what a Windows Server 2022 guest sends, byte for byte", () => {
    const reply = redirected("vif", windowsArpRequest());
    expect(toHex(reply)).toBe(
      [
        "022187a4050c", // to the asker
        "00005e000100", // from the gateway MAC
        "0806000108000604",
        "0002", // reply
        "00005e000100a9fea9fe", // 169.254.169.254 is at the gateway MAC
        "022187a4050cac1f0007", // said to the asker
      ].join(""),
    );
    expect(counted()).toEqual({ "arp-reply": 1 });
    expect(datapath.vifCounters(LOOPBACK)!["arp-reply"]).toEqual({ frames: 1n, bytes: 42n });
  });

  it("answers a padded request, and one sent to a MAC (unicast poll, RFC 1122 s. 2.3.2.1)", () => {
    const ask = { senderMac: GUEST_MAC, senderAddress: GUEST, targetAddress: SERVICE };
    expect(redirected("vif", arpRequest({ ...ask, padTo: 60 })).length).toBe(60);
    redirected("vif", arpRequest({ ...ask, destinationMac: GATEWAY_MAC }));
    expect(counted()).toEqual({ "arp-reply": 2 });
  });

  it("answers a guest that has only an APIPA address", () => {
    redirected(
      "vif",
      arpRequest({ senderMac: GUEST_MAC, senderAddress: "169.254.7.9", targetAddress: SERVICE }),
    );
  });
});

describe("A2: ARP probe for a service address", () => {
  it("answers, so that the prober sees the conflict", () => {
    const reply = parseFrame(redirected("vif", arpProbe({ senderMac: GUEST_MAC, targetAddress: SERVICE })));
    expect(reply).toMatchObject({
      value: {
        destination: GUEST_MAC,
        network: {
          senderMac: GATEWAY_MAC,
          senderAddress: SERVICE,
          targetMac: GUEST_MAC,
          targetAddress: "0.0.0.0",
        },
      },
    });
    expect(counted()).toEqual({ "arp-probe-reply": 1 });
  });
});

describe("A5: every other ARP is untouched", () => {
  const ask = { senderMac: GUEST_MAC, senderAddress: GUEST, targetAddress: SERVICE };
  const other = "169.254.10.20";
  it.each([
    ["request for the gateway", arpRequest({ ...ask, targetAddress: "10.0.1.1" })],
    ["request for another link-local address", arpRequest({ ...ask, targetAddress: other })],
    ["probe for another link-local address", arpProbe({ senderMac: GUEST_MAC, targetAddress: other })],
    ["announcement of another link-local address", arpAnnouncement({ senderMac: GUEST_MAC, address: other })],
    ["reply", arpReply({ ...ask, senderAddress: other, targetMac: ROUTER_MAC })],
    ["request of another hardware type", arpRequest({ ...ask }).with(15, 6)],
    ["request for another protocol", arpRequest({ ...ask }).with(17, 1)],
    ["request cut short by one byte", arpRequest(ask).subarray(0, 41)],
    ["Ethernet header alone", arpRequest(ask).subarray(0, 14)],
  ])("%s", (_, frame) => {
    expectUnchanged("vif", frame, UNTOUCHED);
    expect(counted()).toEqual({ "arp-other": 1 });
  });
});

describe("I1: traffic to anything but a service address is untouched and uncounted", () => {
  it.each([
    ["TCP elsewhere", syn({ destination: "198.51.100.7" })],
    ["the neighbouring address", syn({ destination: "169.254.169.253" })],
    ["service address as source", syn({ source: SERVICE, destination: "198.51.100.7" })],
    [
      "a service address where IPv4 has its source, destination elsewhere",
      query({ source: SERVICE, destination: GUEST }),
    ],
    ["malformed, to somebody else", syn({ destination: "198.51.100.7", ip: { totalLength: 9 } })],
    ["IPv6", ethernetFrame({ ...fromGuest, etherType: 0x86dd, payload: new Uint8Array(40) })],
    ["an unknown EtherType", ethernetFrame({ ...fromGuest, etherType: 0x88b5, payload: syn().subarray(14) })],
  ])("%s", (_, frame) => {
    expectUnchanged("vif", frame, UNTOUCHED);
    expect(counted()).toEqual({});
  });
});

describe("V: VLAN-tagged frames are untouched", () => {
  it("802.1Q around a frame that would be answered", () => {
    const vlanTags = [{ type: 0x8100, priority: 0, dropEligible: false, id: 7 }];
    expectUnchanged(
      "vif",
      arpRequest({ senderMac: GUEST_MAC, senderAddress: GUEST, targetAddress: SERVICE, vlanTags }),
      UNTOUCHED,
    );
    expect(counted()).toEqual({ vlan: 1 });
  });
});

describe("I2: TCP and UDP to a service", () => {
  it("host-local: destination becomes the backend, source the metadata address, the source port stays", () => {
    expect(parseFrame(redirected("vif", syn()))).toMatchObject({
      value: {
        destination: HOST_MAC,
        network: {
          source: METADATA_ADDRESS,
          destination: "127.0.0.1",
          ttl: 64,
          transport: { sourcePort: 40000, destinationPort: 8080, flags: TCP_FLAG.syn },
        },
      },
    });
    expect(counted()).toEqual({ forwarded: 1 });
    expect(allFlows(datapath)).toMatchObject([
      [
        { vif: LOOPBACK, guest: GUEST, guestPort: 40000, service: SERVICE, servicePort: 80, protocol: "tcp" },
        {
          kind: "host-local",
          backend: "127.0.0.1",
          backendPort: 8080,
          nat: METADATA_ADDRESS,
          natPort: 40000,
          state: "opening",
        },
      ],
    ]);
  });

  it("fabric: source becomes the host's address and a port from the reserved range", () => {
    const sent = parseFrame(redirected("vif", syn({ destinationPort: 443 })));
    expect(sent).toMatchObject({
      value: {
        network: { source: FABRIC_SOURCE, destination: "192.0.2.10", transport: { destinationPort: 8443 } },
      },
    });
    const { natPort } = allFlows(datapath)[0]![1];
    expect(natPort).toBeGreaterThanOrEqual(SETTINGS.fabricPortMin);
    expect(natPort).toBeLessThanOrEqual(SETTINGS.fabricPortMax);
  });

  it("every port of the range serves, for each backend and protocol anew, and then no more", () => {
    for (let port = 1; port <= 4; port++) {
      redirected("vif", syn({ destinationPort: 443, sourcePort: port }));
      redirected("vif", query({ destinationPort: 123, sourcePort: port }));
    }
    const ports = allFlows(datapath).map(([key, flow]) => `${key.protocol} ${flow.natPort}`);
    expect(new Set(ports).size).toBe(8);
    expectUnchanged("vif", syn({ destinationPort: 443, sourcePort: 5 }), DROP);
    expect(counted()).toEqual({ forwarded: 8, "no-port": 1 });
    expect(datapath.flowCount()).toBe(8);
  });

  it("the way there and back: the guest gets its own addresses and ports", () => {
    redirected("vif", syn());
    const back = redirected(
      "host",
      tcpFrame({
        sourceMac: HOST_MAC,
        destinationMac: HOST_MAC,
        source: "127.0.0.1",
        destination: METADATA_ADDRESS,
        sourcePort: 8080,
        destinationPort: 40000,
        flags: TCP_FLAG.syn | TCP_FLAG.ack,
        tcp: { sequence: 1, acknowledgement: 2, options: Uint8Array.of(2, 4, 5, 0xb4) },
      }),
    );
    expect(parseFrame(back)).toMatchObject({
      value: {
        destination: GUEST_MAC,
        source: ROUTER_MAC,
        network: {
          source: SERVICE,
          destination: GUEST,
          ttl: 64,
          transport: { sourcePort: 80, destinationPort: 40000 },
        },
      },
    });
    expect(counted()).toEqual({ forwarded: 1, returned: 1 });
    expect(allFlows(datapath)[0]![1]).toMatchObject({ state: "opening", framesOut: 1n, framesIn: 1n });
    redirected("vif", syn({ flags: TCP_FLAG.ack }));
    expect(allFlows(datapath)[0]![1]).toMatchObject({ state: "established", framesOut: 2n, framesIn: 1n });
  });

  it("back from the fabric, and only what belongs to a flow", () => {
    redirected("vif", query({ destinationPort: 123 }));
    const { natPort } = allFlows(datapath)[0]![1];
    const answer = (fields: object = {}) =>
      udpFrame({
        sourceMac: ROUTER_MAC,
        destinationMac: LOOPBACK_MAC,
        source: "192.0.2.10",
        destination: FABRIC_SOURCE,
        sourcePort: 123,
        destinationPort: natPort,
        data: Buffer.from("answer"),
        ...fields,
      });
    expect(parseFrame(redirected("fabric", answer()))).toMatchObject({
      value: {
        network: {
          source: SERVICE,
          destination: GUEST,
          transport: { sourcePort: 123, destinationPort: 40000 },
        },
      },
    });
    for (const frame of [
      answer({ source: "192.0.2.11" }),
      answer({ sourcePort: 124 }),
      answer({ destination: "192.0.2.2" }),
      answer({ destinationPort: natPort === 61000 ? 61001 : 61000 }),
      answer({ destinationMac: ROUTER_MAC }),
      answer({ destinationPort: 40000 }),
      syn({ destinationMac: LOOPBACK_MAC }),
    ])
      expectUnchanged("fabric", frame, UNTOUCHED);
    expect(counted()).toEqual({ forwarded: 1, returned: 1 });
  });

  it("an answer from another address of the host finds its flow (UDP server on the wildcard address)", () => {
    redirected("vif", query());
    const back = udpFrame({
      sourceMac: HOST_MAC,
      destinationMac: HOST_MAC,
      source: "169.254.64.1",
      destination: METADATA_ADDRESS,
      sourcePort: 5353,
      destinationPort: 40000,
      data: Buffer.from("answer"),
    });
    expect(parseFrame(redirected("host", back))).toMatchObject({
      value: { network: { source: SERVICE, destination: GUEST } },
    });
  });

  it.each([
    ["IP options", { ip: { options: RECORD_ROUTE } }],
    ["link-layer padding", { padTo: 100 }],
    ["TTL 1, the service being on the link", { ip: { ttl: 1 } }],
    ["TTL 255", { ip: { ttl: 255 } }],
  ])("%s", (_, fields) => {
    expect(parseFrame(redirected("vif", syn(fields)))).toMatchObject({
      value: { network: { destination: "127.0.0.1", ttl: 64, transport: { destinationPort: 8080 } } },
    });
    expect(parseFrame(redirected("vif", query(fields)))).toMatchObject({
      value: { network: { destination: "127.0.0.1", ttl: 64, transport: { destinationPort: 5353 } } },
    });
  });

  it("UDP without checksum stays without", () => {
    const sent = parseFrame(redirected("vif", query({ udp: { checksum: 0 } })));
    expect(sent).toMatchObject({ value: { network: { transport: { checksum: 0, destinationPort: 5353 } } } });
  });

  it("UDP checksums come out right, and one that comes out as zero is sent as 0xffff (RFC 768)", () => {
    const withWord = (word: number) =>
      redirected("vif", query({ data: Uint8Array.of(word >> 8, word & 0xff) }));
    for (const word of WORDS) expect(toHex(withWord(word).subarray(40, 42))).not.toBe("0000");
    // The checksum of a frame with the word 0 is the word that makes the sum all ones.
    const [high, low] = withWord(0).subarray(40, 42);
    expect(toHex(withWord((high! << 8) | low!).subarray(40, 42))).toBe("ffff");
  });

  it("flows of one guest to two service addresses with one backend get ports of their own", () => {
    const second = "169.254.169.253";
    datapath.services.set(
      { address: second, port: 80, protocol: "tcp" },
      { id: 1, backends: 1, responseHopLimit: 64, whenNoBackend: "drop", drain: 0, drainEnds: 0n },
    );
    datapath.serviceAddresses.set(second, { services: 1 });
    redirected("vif", syn());
    redirected("vif", syn({ destination: second }));
    const ports = allFlows(datapath).map(([, flow]) => flow.natPort);
    expect(ports).toContain(40000);
    expect(new Set(ports).size).toBe(2);
  });

  it("a service address outside 169.254/16 is one as well", () => {
    const other = "100.100.100.200";
    expectUnchanged("vif", syn({ destination: other }), UNTOUCHED);
    const service = {
      id: 1,
      backends: 1,
      responseHopLimit: 64,
      whenNoBackend: "drop" as const,
      drain: 0,
      drainEnds: 0n,
    };
    datapath.services.set({ address: other, port: 80, protocol: "tcp" }, service);
    datapath.serviceAddresses.set(other, { services: 1 });
    datapath.setSettings(SETTINGS);
    expect(parseFrame(redirected("vif", syn({ destination: other })))).toMatchObject({
      value: { network: { destination: "127.0.0.1" } },
    });
  });

  it("the response hop limit is the TTL that the guest sees", () => {
    datapath.services.set(
      { address: SERVICE, port: 53, protocol: "udp" },
      { id: 2, backends: 1, responseHopLimit: 1, whenNoBackend: "drop", drain: 0, drainEnds: 0n },
    );
    redirected("vif", query());
    const back = {
      sourceMac: HOST_MAC,
      destinationMac: HOST_MAC,
      source: "127.0.0.1",
      destination: METADATA_ADDRESS,
    };
    expect(
      parseFrame(redirected("host", udpFrame({ ...back, sourcePort: 5353, destinationPort: 40000 }))),
    ).toMatchObject({ value: { network: { ttl: 1 } } });
  });

  it("new flows spread over the backends, and each stays with its own", () => {
    const backends = [1, 2, 3].map((n) => ({
      kind: "host-local" as const,
      address: `127.0.0.${n}`,
      port: 9000,
    }));
    addService(9000, "udp", 9, backends);
    const sentTo = (port: number) => {
      const sent = parseFrame(redirected("vif", query({ destinationPort: 9000, sourcePort: port })));
      return sent.ok && sent.value.network.kind === "ipv4" ? sent.value.network.destination : "";
    };
    const ports = Array.from({ length: 50 }, (_, i) => 1024 + i);
    const chosen = ports.map(sentTo);
    expect(new Set(chosen)).toEqual(new Set(["127.0.0.1", "127.0.0.2", "127.0.0.3"]));
    datapath.services.set(
      { address: SERVICE, port: 9000, protocol: "udp" },
      { id: 9, backends: 1, responseHopLimit: 64, whenNoBackend: "drop", drain: 0, drainEnds: 0n },
    );
    expect(ports.map(sentTo)).toEqual(chosen);
  });
});

describe("TCP flows", () => {
  const answer = (flags: number) =>
    tcpFrame({
      sourceMac: HOST_MAC,
      destinationMac: HOST_MAC,
      source: "127.0.0.1",
      destination: METADATA_ADDRESS,
      sourcePort: 8080,
      destinationPort: 40000,
      flags,
    });
  const state = () => allFlows(datapath).map(([, flow]) => flow.state);

  it("open with a SYN only", () => {
    for (const flags of [
      TCP_FLAG.ack,
      TCP_FLAG.syn | TCP_FLAG.ack,
      TCP_FLAG.rst,
      TCP_FLAG.fin | TCP_FLAG.ack,
      0,
    ])
      expectUnchanged("vif", syn({ flags }), DROP);
    expect(counted()).toEqual({ "no-flow": 5 });
    expect(datapath.flowCount()).toBe(0);
  });

  it("close when both ends have sent FIN", () => {
    redirected("vif", syn());
    redirected("host", answer(TCP_FLAG.syn | TCP_FLAG.ack));
    redirected("vif", syn({ flags: TCP_FLAG.fin | TCP_FLAG.ack }));
    expect(state()).toEqual(["established"]);
    redirected("host", answer(TCP_FLAG.fin | TCP_FLAG.ack));
    expect(state()).toEqual(["closing"]);
  });

  it("close with a RST, and a new SYN opens another flow", () => {
    redirected("vif", syn());
    redirected("host", answer(TCP_FLAG.rst | TCP_FLAG.ack));
    expect(state()).toEqual(["closing"]);
    redirected("vif", syn());
    expect(state()).toEqual(["opening"]);
    expect(datapath.flowCount()).toBe(1);
  });

  it("count anew from a new SYN on, and follow the service to another backend", () => {
    const open = () => {
      redirected("vif", syn());
      return allFlows(datapath).map(([, { backend, framesOut, framesIn }]) => [backend, framesOut, framesIn]);
    };
    open();
    redirected("host", answer(TCP_FLAG.rst | TCP_FLAG.ack));
    expect(open()).toEqual([["127.0.0.1", 1n, 0n]]);
    redirected("host", answer(TCP_FLAG.rst | TCP_FLAG.ack));
    addService(80, "tcp", 1, [{ kind: "host-local", address: "127.0.0.7", port: 8080 }]);
    expect(open()).toEqual([["127.0.0.7", 1n, 0n]]);
    expect(datapath.flowCount()).toBe(1);
  });
});

describe("I3: ICMP echo to a service address", () => {
  it.each([
    ["as it comes", {}],
    ["IP options", { ip: { options: RECORD_ROUTE } }],
    ["TTL 1", { ip: { ttl: 1 } }],
  ])("%s", (_, fields) => {
    const echo = { identifier: 7, sequence: 9, data: Buffer.from("ping") };
    expect(parseFrame(redirected("vif", echoRequest({ ...fromGuest, ...echo, ...fields })))).toMatchObject({
      value: {
        source: ROUTER_MAC,
        destination: GUEST_MAC,
        network: {
          source: SERVICE,
          destination: GUEST,
          ttl: 64,
          transport: { kind: "icmp", message: { type: 0, identifier: 7, sequence: 9 } },
        },
      },
    });
    expect(counted()).toEqual({ "echo-reply": 1 });
  });

  it("has a right checksum whatever the payload, where carries ripple too", () => {
    for (const word of WORDS)
      redirected(
        "vif",
        echoRequest({
          ...fromGuest,
          identifier: 1,
          sequence: 1,
          data: Uint8Array.of(word >> 8, word & 0xff),
        }),
      );
  });
});

describe("what is for a service address and not served is dropped, unchanged, and counted", () => {
  it.each<[Reason, string, Uint8Array]>([
    ["unknown-port", "TCP to a port without service", syn({ destinationPort: 81 })],
    ["unknown-port", "UDP to a port that is a service of TCP only", query({ destinationPort: 80 })],
    [
      "unknown-port",
      "another protocol",
      ipv4Frame({ ...fromGuest, protocol: 132, payload: new Uint8Array(12) }),
    ],
    [
      "no-flow",
      "an echo reply that nobody asked for",
      echoReply({ ...fromGuest, identifier: 1, sequence: 1 }),
    ],
    ["malformed", "IP version 6", syn().with(14, 0x65)],
    ["malformed", "header length 4 words", syn({ ip: { headerLength: 16 } })],
    ["malformed", "header longer than the packet", syn({ ip: { headerLength: 60, totalLength: 40 } })],
    ["malformed", "total length beyond the frame", syn({ ip: { totalLength: 41 } })],
    ["malformed", "total length zero", syn({ ip: { totalLength: 0 } })],
    ["malformed", "TCP header cut", syn({ ip: { totalLength: 39 } })],
    ["malformed", "TCP data offset 4", syn({ tcp: { headerLength: 16 } })],
    ["malformed", "TCP data offset beyond the packet", syn({ tcp: { headerLength: 24 } })],
    ["malformed", "UDP length 7", query({ udp: { length: 7 } })],
    ["malformed", "UDP length beyond the packet", query({ udp: { length: 14 } })],
    ["malformed", "UDP header cut", ipv4Frame({ ...fromGuest, protocol: 17, payload: new Uint8Array(7) })],
    [
      "malformed",
      "ICMP header cut",
      ipv4Frame({ ...fromGuest, protocol: 1, payload: Uint8Array.of(8, 0, 0, 0) }),
    ],
    [
      "malformed",
      "to the link-layer broadcast address (RFC 1122 s. 3.3.6)",
      syn({ destinationMac: BROADCAST_MAC }),
    ],
    ["fragment", "a later fragment that comes first", syn({ ip: { fragmentOffset: 8 } })],
  ])("%s: %s", (reason, _, frame) => {
    expectUnchanged("vif", frame, DROP);
    expect(counted()).toEqual({ [reason]: 1 });
    expect(datapath.vifCounters(LOOPBACK)![reason].frames).toBe(1n);
    expect(datapath.flowCount()).toBe(0);
  });

  it("no-backend: a service without any", () => {
    datapath.services.set(
      { address: SERVICE, port: 80, protocol: "tcp" },
      { id: 1, backends: 0, responseHopLimit: 64, whenNoBackend: "drop", drain: 0, drainEnds: 0n },
    );
    expectUnchanged("vif", syn(), DROP);
    expect(counted()).toEqual({ "no-backend": 1 });
  });

  it("limit: a vif at its limit, while its flows go on", () => {
    for (let port = 1; port <= 50; port++) redirected("vif", query({ sourcePort: port }));
    expectUnchanged("vif", query({ sourcePort: 51 }), DROP);
    redirected("vif", query({ sourcePort: 50 }));
    expect(counted()).toEqual({ forwarded: 51, limit: 1 });
    expect(datapath.flowCount(LOOPBACK)).toBe(50);
  });

  it("limit: the system at its limit", () => {
    datapath.setSettings({ ...SETTINGS, maxFlows: 3 });
    for (let port = 1; port <= 3; port++) redirected("vif", query({ sourcePort: port }));
    expectUnchanged("vif", query({ sourcePort: 4 }), DROP);
    expect(datapath.flowCount()).toBe(3);
  });

  it("no-flow: from the host, what belongs to no flow", () => {
    const stray = {
      sourceMac: HOST_MAC,
      destinationMac: HOST_MAC,
      source: "127.0.0.1",
      destination: METADATA_ADDRESS,
    };
    expectUnchanged("host", udpFrame({ ...stray, sourcePort: 5353, destinationPort: 40000 }), TO_NOBODY);
    expectUnchanged("host", echoRequest({ ...stray, identifier: 1, sequence: 1 }), TO_NOBODY);
    // Multicast the other end would take.
    const multicast = { ...stray, destinationMac: "01:00:5e:00:00:fb", destination: "224.0.0.251" };
    expectUnchanged("host", udpFrame({ ...multicast, sourcePort: 5353, destinationPort: 5353 }), DROP);
    expect(counted()).toEqual({ "no-flow": 3 });
  });
});

describe("a vif that the maps do not know", () => {
  it("is left alone", () => {
    datapath.removeVif(LOOPBACK);
    expectUnchanged("vif", syn(), UNTOUCHED);
    expectUnchanged("vif", windowsArpRequest(), UNTOUCHED);
    expect(counted()).toEqual({});
    expect(datapath.vifCounters(LOOPBACK)).toBeUndefined();
  });
});

describe("what is seen of a guest", () => {
  const evidence = () => datapath.vifEvidence(LOOPBACK)!;

  it("nothing, of one that has sent nothing, or only to others", () => {
    expect(evidence()).toEqual({ counted: {} });
    datapath.run("vif", syn({ destination: "198.51.100.7" }));
    datapath.run(
      "vif",
      arpRequest({ senderMac: GUEST_MAC, senderAddress: GUEST, targetAddress: "10.0.1.1" }),
    );
    expect(evidence()).toEqual({ counted: { "arp-other": expect.any(BigInt) } });
    expect(datapath.vifEvidence(2)).toBeUndefined();
  });

  it("whom it asked for by ARP, and what was answered; probes are not asked", () => {
    const ask = (targetAddress: string) =>
      datapath.run("vif", arpRequest({ senderMac: GUEST_MAC, senderAddress: GUEST, targetAddress }));
    datapath.run("vif", arpProbe({ senderMac: GUEST_MAC, targetAddress: SERVICE }));
    expect(evidence()).not.toHaveProperty("arpAsked");
    const start = process.hrtime.bigint();
    ask(SERVICE);
    const { arpAsked, arpAnswered } = evidence();
    expect(arpAnswered).toEqual({ address: SERVICE, time: arpAsked!.time });
    // The clock of ticks may be behind by one, 10 ms at most.
    expect(arpAsked!.time).toBeGreaterThan(start - 10_000_000n);
    expect(arpAsked!.time).toBeLessThanOrEqual(process.hrtime.bigint());
    ask("169.254.7.7");
    expect(evidence().arpAsked?.address).toBe("169.254.7.7");
    expect(evidence().arpAnswered).toEqual(arpAnswered);
  });

  it("whom it takes a service to be, and when something was last forwarded, returned or dropped", () => {
    redirected("vif", syn());
    datapath.addCounts();
    const { sent, counted } = evidence();
    const macs = { guestMac: GUEST_MAC, toMac: ROUTER_MAC };
    expect(sent).toEqual({ guest: GUEST, service: SERVICE, ...macs, time: expect.any(BigInt) });
    expect(Object.keys(counted)).toEqual(["forwarded"]);
    expect(counted.forwarded).toBeGreaterThanOrEqual(sent!.time);
    datapath.run("vif", syn({ destinationPort: 81, destinationMac: "02:00:00:00:00:77" }));
    expect(evidence().sent?.toMac).toBe("02:00:00:00:00:77");
    expect(Object.keys(evidence().counted)).toEqual(["forwarded", "unknown-port"]);
  });

  it("the last spoofed source", () => {
    expectUnchanged("vif", syn({ source: "169.254.169.254" }), DROP);
    expect(evidence()).toEqual({
      spoofed: { address: SERVICE, time: expect.any(BigInt) },
      counted: { spoofed: expect.any(BigInt) },
    });
  });
});

describe("a flow's MACs", () => {
  const answer = () =>
    redirected(
      "host",
      udpFrame({
        sourceMac: HOST_MAC,
        destinationMac: HOST_MAC,
        source: "127.0.0.1",
        destination: METADATA_ADDRESS,
        sourcePort: 5353,
        destinationPort: 40000,
        data: Buffer.from("answer"),
      }),
    );

  it("are those of the guest's last frame", () => {
    redirected("vif", query());
    expect(parseFrame(answer())).toMatchObject({ value: { source: ROUTER_MAC, destination: GUEST_MAC } });
    redirected("vif", query({ sourceMac: "02:00:0a:00:01:04", destinationMac: GATEWAY_MAC }));
    expect(parseFrame(answer())).toMatchObject({
      value: { source: GATEWAY_MAC, destination: "02:00:0a:00:01:04" },
    });
    expect(datapath.flowCount()).toBe(1);
    expect(datapath.vifEvidence(LOOPBACK)?.sent?.toMac).toBe(GATEWAY_MAC);
  });
});

describe("flows end", () => {
  it("with their vif, or their service, and give their ports back", () => {
    for (let port = 1; port <= 4; port++)
      redirected("vif", query({ destinationPort: 123, sourcePort: port }));
    redirected("vif", syn());
    expect(datapath.endFlows([{ vif: 2 }])).toEqual([0]);
    expect(datapath.endFlows([{ vif: LOOPBACK, service: 4 }])).toEqual([4]);
    expect(datapath.flowCount(LOOPBACK)).toBe(1);
    for (let port = 5; port <= 8; port++)
      redirected("vif", query({ destinationPort: 123, sourcePort: port }));
    datapath.removeVif(LOOPBACK);
    expect(datapath.flowCount()).toBe(0);
    expect(allFlows(datapath)).toEqual([]);
  });

  it("with one backend of their service", () => {
    redirected("vif", query({ destinationPort: 123 }));
    redirected("vif", syn());
    const [, { service, backend: address, backendPort: port }] = allFlows(datapath).find(
      ([key]) => key.protocol === "udp",
    )!;
    expect(datapath.endFlows([{ service, backend: { address, port: port + 1 } }])).toEqual([0]);
    expect(datapath.endFlows([{ service, backend: { address: "192.0.2.99", port } }])).toEqual([0]);
    expect(datapath.endFlows([{ service: service + 1, backend: { address, port } }])).toEqual([0]);
    expect(datapath.endFlows([{ service, backend: { address, port } }])).toEqual([1]);
    expect(allFlows(datapath).map(([key]) => key.protocol)).toEqual(["tcp"]);
  });

  it("by themselves, by a timer of the kernel", async () => {
    datapath.setSettings({ ...SETTINGS, timeoutUdp: 1 });
    redirected("vif", query());
    redirected("vif", syn());
    await expect.poll(() => datapath.flowCount(), { timeout: 10_000, interval: 50 }).toBe(1);
    expect(allFlows(datapath).map(([key]) => key.protocol)).toEqual(["tcp"]);
    expect(datapath.flowCount(LOOPBACK)).toBe(1);
  });
});

describe("services, and vifs, are counted", () => {
  const ofVif = () => datapath.vifCounters(LOOPBACK)!;
  /** Of the service that `query` and its answer, of 60 bytes and more, belong to. */
  const ofDns = () => {
    const { id } = datapath.services.get({ address: SERVICE, port: 53, protocol: "udp" })!;
    return datapath.serviceCounters().get(id);
  };

  it("by flow: while it lasts, within some seconds, and when it ends", async () => {
    expect(ofDns()).toBeUndefined();
    const { length } = query();
    redirected("vif", query());
    expect(ofDns()).toMatchObject({ flows: 1n, framesOut: 0n });
    expect(ofVif().forwarded).toEqual({ frames: 0n, bytes: 0n });
    await expect
      .poll(() => ofDns(), { timeout: 10_000, interval: 50 })
      .toMatchObject({ framesOut: 1n, bytesOut: BigInt(length) });
    redirected("vif", query());
    datapath.endFlows([{}]);
    expect(ofDns()).toEqual({
      flows: 1n,
      refused: 0n,
      framesOut: 2n,
      bytesOut: BigInt(2 * length),
      framesIn: 0n,
      bytesIn: 0n,
    });
    expect(ofVif().forwarded).toEqual({ frames: 2n, bytes: BigInt(2 * length) });
    expect(ofVif().returned).toEqual({ frames: 0n, bytes: 0n });
  });

  it("at once where somebody asks, both ways, and nothing twice", () => {
    const { length } = query();
    redirected("vif", query());
    const ends = {
      source: "127.0.0.1",
      destination: METADATA_ADDRESS,
      sourcePort: 5353,
      destinationPort: 40000,
    };
    const answer = redirected("host", udpFrame({ sourceMac: HOST_MAC, destinationMac: HOST_MAC, ...ends }));
    for (let time = 0; time < 2; time++) {
      datapath.addCounts();
      expect(ofDns()).toMatchObject({ framesOut: 1n, bytesOut: BigInt(length), framesIn: 1n });
      expect(ofVif().forwarded).toEqual({ frames: 1n, bytes: BigInt(length) });
      expect(ofVif().returned).toEqual({ frames: 1n, bytes: BigInt(answer.length) });
    }
    const { forwarded, returned } = datapath.vifEvidence(LOOPBACK)!.counted;
    expect(returned).toBe(forwarded);
  });

  it("without a backend in use, and no more once they are gone", () => {
    const key = { address: SERVICE, port: 53, protocol: "udp" } as const;
    const entry = datapath.services.get(key)!;
    datapath.services.set(key, { ...entry, backends: 0, whenNoBackend: "drop" });
    expectUnchanged("vif", query(), DROP);
    expect(ofDns()).toMatchObject({ flows: 0n, refused: 1n });
    datapath.services.delete(key);
    expect(datapath.serviceCounters().size).toBe(0);
  });

  it("when a connection of the same ends comes again", () => {
    for (const flags of [TCP_FLAG.syn, TCP_FLAG.rst, TCP_FLAG.syn]) redirected("vif", syn({ flags }));
    const { id } = datapath.services.get({ address: SERVICE, port: 80, protocol: "tcp" })!;
    expect(datapath.serviceCounters().get(id)).toMatchObject({ flows: 2n, framesOut: 2n });
    expect(ofVif().forwarded.frames).toBe(2n);
    datapath.addCounts();
    expect(ofVif().forwarded.frames).toBe(3n);
  });
});

describe("adoption", () => {
  const again = (flowCapacity: number) => {
    datapath.close();
    datapath = openDatapath({ pinDir, attach: "auto", flowCapacity });
  };
  const expectAllThere = () => {
    expect(datapath.settings()).toEqual(SETTINGS);
    expect(datapath.flowCount()).toBe(1);
    expect(datapath.flowCount(LOOPBACK)).toBe(1);
    redirected("vif", query());
    expect(allFlows(datapath)[0]![1].framesOut).toBe(2n);
    datapath.addCounts();
    expect(datapath.vifCounters(LOOPBACK)!.forwarded.frames).toBe(2n);
  };

  it.each([1024, 512])("a second start with room for %i flows keeps the maps as they are", (flowCapacity) => {
    redirected("vif", query());
    expect(datapath.adopted).toBeUndefined();
    again(flowCapacity);
    expect(datapath.adopted).toMatchObject({ carried: [], replaced: [], flows: 0 });
    expectAllThere();
  });

  it("one with room for more makes larger flow maps, with the flows that there are", () => {
    redirected("vif", query());
    again(4096);
    expect(datapath.adopted).toMatchObject({
      carried: ["flow_total", "flows", "reverse", "vif_states"],
      replaced: [],
      flows: 1,
    });
    expectAllThere();
    expect(readdirSync(pinDir).filter((name) => /^(next|former)-/.test(name))).toEqual([]);
  });

  /** What of a flow the agent does not read. */
  const UNSEEN = {
    answered: 0,
    ended: 0,
    addedFramesOut: 0n,
    addedBytesOut: 0n,
    addedFramesIn: 0n,
    addedBytesIn: 0n,
  };

  /** Pins a shard beside those of the datapath, with one flow. */
  function pinShard(
    name: string,
    key: StructValueOf<typeof flowKeyLayout>,
    flow: StructValueOf<typeof flowLayout>,
  ): void {
    const shard = createMap(name, shardAttributes(1024));
    pinObject(shard, join(pinDir, "maps", name));
    updateElement(shard, flowKeyLayout.encode(key), flowLayout.encode(flow));
    closeFd(shard);
  }

  it("one that finds more shards than it has itself, of another version, takes the flows of all of them", () => {
    redirected("vif", query());
    const [key, flow] = allFlows(datapath)[0]!;
    pinShard(
      "flows_40",
      { ...key, guestPort: key.guestPort + 1 },
      { ...flow, ...UNSEEN, natPort: flow.natPort + 1 },
    );
    again(4096);
    expect(datapath.adopted).toMatchObject({ flows: 2 });
    expect(allFlows(datapath).map(([{ guestPort }]) => guestPort - key.guestPort)).toEqual(
      expect.arrayContaining([0, 1]),
    );
    expect(readdirSync(join(pinDir, "maps"))).not.toContain("flows_40");
  });

  it("what earlier versions have counted for a vif without noting it, of a flow that the host opened, is not counted again", () => {
    redirected("vif", query());
    const [key, flow] = allFlows(datapath)[0]!;
    const counted = { service: 0, framesOut: 1000n, bytesOut: 100_000n };
    pinShard(
      "flows_40",
      { ...key, guestPort: key.guestPort + 1 },
      { ...flow, ...UNSEEN, ...counted, natPort: flow.natPort + 1 },
    );
    again(4096);
    expect(datapath.adopted).toMatchObject({ flows: 2 });
    datapath.addCounts();
    expect(datapath.vifCounters(LOOPBACK)!.forwarded.frames).toBe(1n);
  });

  it("of two flows of the same ends, the one that was opened last goes on", () => {
    redirected("vif", query());
    const [key, flow] = allFlows(datapath)[0]!;
    for (const [name, later] of [
      ["flows_40", 1],
      ["flows_41", 2],
      ["flows_42", 1],
    ] as const) {
      const opened = flow.opened + BigInt(later);
      const natPort = flow.natPort + later;
      pinShard(name, key, { ...flow, ...UNSEEN, opened, natPort });
    }
    again(4096);
    expect(allFlows(datapath)).toMatchObject([[key, { natPort: flow.natPort + 2 }]]);
    expect(datapath.flowCount()).toBe(1);
  });

  it("while flows are on their way, what belongs to none is dropped, not answered; the next start ends that", () => {
    datapath.setVif(LOOPBACK, { ...VIF, unknownPort: "reject" });
    const fromBackend = tcpFrame({
      ...{ sourceMac: ROUTER_MAC, destinationMac: LOOPBACK_MAC, source: "192.0.2.10" },
      ...{ destination: FABRIC_SOURCE, sourcePort: 8443, destinationPort: 61001, flags: TCP_FLAG.ack },
    });
    const fromUs = syn({ flags: TCP_FLAG.ack });
    expectUnchanged("fabric", fromBackend, UNTOUCHED);
    expect(datapath.run("vif", fromUs).verdict).toBe(REDIRECT);

    const settings = getPinned(join(pinDir, "maps", "settings"))!;
    const first = u32Layout.encode({ value: 0 });
    const bytes = new Uint8Array(settingsLayout.size);
    lookupElement(settings, first, bytes);
    updateElement(
      settings,
      first,
      settingsLayout.encode({ ...settingsLayout.read(bytes), carryingFlows: 1 }),
    );
    closeFd(settings);
    expectUnchanged("fabric", fromBackend, DROP);
    expectUnchanged("vif", fromUs, DROP);
    redirected("vif", syn());

    again(1024);
    expectUnchanged("fabric", fromBackend, UNTOUCHED);
  });
});
