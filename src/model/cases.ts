/**
 * The datapath table by example: a state, a frame, and what becomes of it. Expected frames are built from their fields, not changed in
 * place as the datapath does it, so the two ways check each other. The list is for the tests of the model, and for whatever else claims
 * to follow the table.
 */
import { BROADCAST_MAC, GATEWAY_MAC, UNSPECIFIED_ADDRESS } from "../packet/address.ts";
import { ARP_OPERATION } from "../packet/arp.ts";
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
} from "../packet/build.ts";
import { concatBytes } from "../packet/bytes.ts";
import { ETHER_TYPE } from "../packet/ethernet.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { fragmentFrame } from "../packet/fragment.ts";
import { ICMP_TYPE, UNREACHABLE_CODE } from "../packet/icmp.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import type { Reason } from "./reasons.ts";
import { type ModelState, NS_PER_S, newState, serviceKey, setService, setVif, type Target } from "./state.ts";
import type { StepInput } from "./step.ts";
import type { Verdict } from "./verdict.ts";

/** One line of the list. */
export interface Case {
  row: string;
  title: string;
  /** Changes the state of `exampleState`. */
  given?: (state: ModelState) => void;
  /** Frames that come before, with whatever becomes of them. */
  before?: StepInput[];
  input: StepInput;
  verdict: Verdict;
  reason: Reason | undefined;
  /** Counted for this vif; default the one that the frame comes from, none where it is not counted. */
  vif?: number | undefined;
}

/** A vif whose addresses are known, with all that can be switched on. */
export const VIF = 5;
/** A vif of which nothing is known, with the other settings. Its guest has the same address. */
export const PLAIN_VIF = 6;
/** The interface that leads to the fabric backend. */
export const FABRIC = 9;
/** onlink0. */
export const HOST = 3;
/** When the examples happen, in ns. */
export const NOW = 1000n * NS_PER_S;

const GUEST_MAC = "02:00:0a:00:01:03";
const HOST_MAC = "02:00:00:00:00:01";
const ROUTER_MAC = "02:00:00:00:00:99";
const GUEST = "10.0.1.3";
const METADATA = "169.254.169.254";
const DNS = "169.254.169.253";
const METADATA_ADDRESS = "169.254.64.5";
const DNS_BACKEND = "192.0.2.53";
const FABRIC_SOURCE = "198.51.100.7";

/** Services and vifs of the examples. */
export function exampleState(): ModelState {
  const state = newState({
    hostMac: HOST_MAC,
    gatewayMac: GATEWAY_MAC,
    hostServiceAddress: METADATA,
    fabricPorts: { min: 61000, max: 65535 },
    maxFlows: 16384,
    maxFlowsPerVif: 1024,
    timeouts: {
      tcpOpening: 60,
      tcpEstablished: 7200,
      tcpClosing: 10,
      udpOpening: 30,
      udpEstablished: 180,
      icmp: 10,
    },
  });
  const local = { kind: "host-local", address: "127.0.0.1", port: 8080 } as const;
  const far = {
    kind: "fabric",
    address: DNS_BACKEND,
    port: 53,
    source: FABRIC_SOURCE,
    ifindex: FABRIC,
  } as const;
  const service = { responseHopLimit: 64, whenNoBackend: "reject" } as const;
  const tcp = (port: number) => ({ address: METADATA, protocol: "tcp" as const, port });
  setService(state, tcp(80), { ...service, id: 1, backends: [local], responseHopLimit: 2 });
  setService(state, { address: DNS, protocol: "udp", port: 53 }, { ...service, id: 2, backends: [far] });
  setService(state, { address: DNS, protocol: "tcp", port: 53 }, { ...service, id: 3, backends: [far] });
  setService(state, tcp(81), { ...service, id: 4, backends: [] });
  setService(state, tcp(82), { ...service, id: 5, backends: [], whenNoBackend: "drop" });
  setService(state, tcp(83), { ...service, id: 6, backends: [], whenNoBackend: "pass" });
  setService(state, tcp(84), { ...service, id: 7, backends: [local], whenNoBackend: "pass", draining: true });
  setVif(state, VIF, {
    metadataAddress: METADATA_ADDRESS,
    addresses: [GUEST],
    mac: GUEST_MAC,
    gateway: "10.0.1.1",
    antiSpoof: true,
    unknownPort: "reject",
    arpReply: "unicast",
  });
  setVif(state, PLAIN_VIF, {
    metadataAddress: "169.254.64.6",
    addresses: [],
    antiSpoof: false,
    unknownPort: "drop",
    arpReply: "broadcast",
  });
  return state;
}

function vif(frame: Uint8Array, { ifindex = VIF, now = NOW } = {}): StepInput {
  return { side: "vif", ifindex, frame, now };
}
function host(frame: Uint8Array, now = NOW): StepInput {
  return { side: "host", ifindex: HOST, frame, now };
}
function fabric(frame: Uint8Array, forThisHost = true): StepInput {
  return { side: "fabric", ifindex: FABRIC, frame, now: NOW, forThisHost };
}

const UNTOUCHED: Verdict = { kind: "untouched" };
const DROP: Verdict = { kind: "drop" };
const TO_HOST: Target = { kind: "host" };
const TO_FABRIC: Target = { kind: "fabric", ifindex: FABRIC };
function send(to: Target, frame: Uint8Array): Verdict {
  return { kind: "send", to, frame };
}
function toVif(frame: Uint8Array, ifindex = VIF): Verdict {
  return send({ kind: "vif", ifindex }, frame);
}

// The same packet at its four places: at the guest, behind the translation, and both ways back.
const fromGuest = {
  sourceMac: GUEST_MAC,
  destinationMac: GATEWAY_MAC,
  source: GUEST,
  destination: METADATA,
  ip: { tos: 0x28, identification: 0x1234, ttl: 128, dontFragment: true },
};
const fromService = {
  sourceMac: GATEWAY_MAC,
  destinationMac: GUEST_MAC,
  source: METADATA,
  destination: GUEST,
};
const onHost = { sourceMac: GATEWAY_MAC, destinationMac: HOST_MAC };
const fromHost = { sourceMac: HOST_MAC, destinationMac: GATEWAY_MAC };
const fromFabric = { sourceMac: ROUTER_MAC, destinationMac: HOST_MAC };
const options = Uint8Array.of(0x94, 4, 0, 0, 1, 1, 1, 0); // router alert (RFC 2113) and padding
const syn = {
  sourcePort: 40000,
  destinationPort: 80,
  flags: TCP_FLAG.syn,
  tcp: { sequence: 7, options: Uint8Array.of(2, 4, 5, 0xb4) },
};
const natSyn = { ...syn, sourcePort: 40000, destinationPort: 8080 };
const query = {
  sourcePort: 40000,
  destinationPort: 53,
  data: Uint8Array.of(0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0),
};
const natQuery = { ...query, sourcePort: 61000 };
const answer = { sourcePort: 53, destinationPort: 61000, data: Uint8Array.of(0xab, 0xcd, 0x81, 0x80) };
const toDns = { ...fromGuest, destination: DNS };
const onFabric = { ...onHost, source: FABRIC_SOURCE, destination: DNS_BACKEND };
const fromBackend = { ...fromFabric, source: DNS_BACKEND, destination: FABRIC_SOURCE };
const fromDns = { ...fromService, source: DNS };
const fromServer = { ...fromHost, source: "127.0.0.1", destination: METADATA_ADDRESS };
const openTcp = vif(tcpFrame({ ...fromGuest, ...syn }));
const openUdp = vif(udpFrame({ ...toDns, ...query }));
const ping = { identifier: 77, sequence: 1, data: Uint8Array.of(1, 2, 3) };
const pingGuest = host(
  echoRequest({ ...fromHost, source: "192.0.2.1", destination: METADATA_ADDRESS, ...ping }),
);

const ask = { senderMac: GUEST_MAC, senderAddress: GUEST, padTo: 60 };
const gatewayAnswer = { senderMac: GATEWAY_MAC, targetMac: GUEST_MAC, targetAddress: GUEST, padTo: 60 };
const defence = arpAnnouncement({ senderMac: GATEWAY_MAC, address: METADATA, padTo: 60 });
const claim = arpAnnouncement({ senderMac: GUEST_MAC, address: METADATA, padTo: 60 });

const arpCases: Case[] = [
  {
    row: "A1",
    title: "a Windows guest asks for the metadata service",
    input: vif(windowsArpRequest()),
    verdict: toVif(
      arpReply({
        senderMac: GATEWAY_MAC,
        senderAddress: METADATA,
        targetMac: "02:21:87:a4:05:0c",
        targetAddress: "172.31.0.7",
      }),
    ),
    reason: "arp-reply",
  },
  {
    row: "A1",
    title: "padding stays",
    input: vif(concatBytes(arpRequest({ ...ask, padTo: 0, targetAddress: DNS }), Uint8Array.of(1, 2, 3))),
    verdict: toVif(
      concatBytes(arpReply({ ...gatewayAnswer, padTo: 0, senderAddress: DNS }), Uint8Array.of(1, 2, 3)),
    ),
    reason: "arp-reply",
  },
  {
    row: "A1",
    title: "the reply is broadcast where the vif says so (RFC 3927 s. 2.5)",
    input: vif(arpRequest({ ...ask, targetAddress: METADATA }), { ifindex: PLAIN_VIF }),
    verdict: toVif(
      arpReply({ ...gatewayAnswer, senderAddress: METADATA, destinationMac: BROADCAST_MAC }),
      PLAIN_VIF,
    ),
    reason: "arp-reply",
  },
  {
    row: "A2",
    title: "a probe for a service address meets its owner",
    input: vif(arpProbe({ ...ask, targetAddress: METADATA })),
    verdict: toVif(
      arpReply({ ...gatewayAnswer, senderAddress: METADATA, targetAddress: UNSPECIFIED_ADDRESS }),
    ),
    reason: "arp-probe-reply",
  },
  {
    row: "A3",
    title: "a claim of a service address is answered with its announcement",
    input: vif(claim),
    verdict: toVif(defence),
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "so is one with the gateway MAC",
    input: vif(arpAnnouncement({ senderMac: GATEWAY_MAC, address: METADATA, padTo: 60 })),
    verdict: toVif(defence),
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "so is a reply that claims it",
    input: vif(arpReply({ ...ask, senderAddress: METADATA, targetMac: HOST_MAC, targetAddress: "10.0.1.9" })),
    verdict: toVif(defence),
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "so is a request for another service address that claims it",
    input: vif(arpRequest({ ...ask, senderAddress: METADATA, targetAddress: DNS })),
    verdict: toVif(defence),
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "not more than once in 10 s",
    before: [vif(claim)],
    input: vif(claim, { now: NOW + 10n * NS_PER_S - 1n }),
    verdict: DROP,
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "10 s later again",
    before: [vif(claim)],
    input: vif(claim, { now: NOW + 10n * NS_PER_S }),
    verdict: toVif(defence),
    reason: "arp-conflict",
  },
  {
    row: "A3",
    title: "another vif has its own 10 s",
    before: [vif(claim)],
    input: vif(claim, { ifindex: PLAIN_VIF, now: NOW + 1n }),
    verdict: toVif(defence, PLAIN_VIF),
    reason: "arp-conflict",
  },
  {
    row: "A4",
    title: "a request for the gateway, where the vif answers for it",
    input: vif(arpRequest({ ...ask, targetAddress: "10.0.1.1" })),
    verdict: toVif(arpReply({ ...gatewayAnswer, senderAddress: "10.0.1.1" })),
    reason: "arp-gateway",
  },
  {
    row: "A4",
    title: "unicast, also where the vif broadcasts",
    given: (state) => {
      state.vifs.get(PLAIN_VIF)!.gateway = "10.0.1.1";
    },
    input: vif(arpRequest({ ...ask, targetAddress: "10.0.1.1" }), { ifindex: PLAIN_VIF }),
    verdict: toVif(arpReply({ ...gatewayAnswer, senderAddress: "10.0.1.1" }), PLAIN_VIF),
    reason: "arp-gateway",
  },
  ...(
    [
      ["a gateway that the vif does not answer for", arpRequest({ ...ask, targetAddress: "10.0.1.2" })],
      ["another 169.254 address", arpRequest({ ...ask, targetAddress: "169.254.169.250" })],
      ["a probe for another 169.254 address", arpProbe({ ...ask, targetAddress: "169.254.7.7" })],
      ["an announcement of another", arpAnnouncement({ senderMac: GUEST_MAC, address: "169.254.7.7" })],
      ["a reply to a service address", arpReply({ ...ask, targetMac: GATEWAY_MAC, targetAddress: METADATA })],
      ["a reply to the gateway", arpReply({ ...ask, targetMac: GATEWAY_MAC, targetAddress: "10.0.1.1" })],
      [
        "another operation",
        arpRequest({ ...ask, targetAddress: METADATA, arp: { operation: ARP_OPERATION.reply + 1 } }),
      ],
      ["41 bytes", arpRequest({ ...ask, padTo: 0, targetAddress: METADATA }).subarray(0, 41)],
      ["another hardware type", withByte(arpRequest({ ...ask, targetAddress: METADATA }), 15, 6)],
      ["another protocol type", withByte(arpRequest({ ...ask, targetAddress: METADATA }), 16, 0x86)],
      ["another hardware length", withByte(arpRequest({ ...ask, targetAddress: METADATA }), 18, 8)],
      ["another protocol length", withByte(arpRequest({ ...ask, targetAddress: METADATA }), 19, 16)],
    ] as const
  ).map(
    ([title, frame]): Case => ({
      row: "A5",
      title,
      input: vif(frame),
      verdict: UNTOUCHED,
      reason: "arp-other",
    }),
  ),
];

const aloneCases: Case[] = [
  ...(
    [
      ["TCP to a host", tcpFrame({ ...fromGuest, ...syn, destination: "192.0.2.80" })],
      [
        "a 169.254 address that is no service",
        udpFrame({ ...fromGuest, ...query, destination: "169.254.7.7" }),
      ],
      ["a broadcast", udpFrame({ ...fromGuest, ...query, destination: "255.255.255.255" })],
      [
        "a service address as the source",
        tcpFrame({ ...fromGuest, ...syn, source: METADATA, destination: GUEST }),
      ],
      [
        "a lying header to a host",
        tcpFrame({ ...fromGuest, ...syn, destination: "192.0.2.80", ip: { totalLength: 9999 } }),
      ],
      ["33 bytes of IPv4", tcpFrame({ ...fromGuest, ...syn }).subarray(0, 33)],
      [
        "a service address in other bytes",
        ipv4Frame({
          ...fromGuest,
          destination: "192.0.2.1",
          protocol: 17,
          payload: Uint8Array.of(169, 254, 169, 254),
        }),
      ],
      ["IPv6", ethernetFrame({ ...fromGuest, etherType: ETHER_TYPE.ipv6, payload: new Uint8Array(40) })],
      ["an 802.3 frame", ethernetFrame({ ...fromGuest, etherType: 38, payload: new Uint8Array(46) })],
      ["13 bytes", new Uint8Array(13)],
      ["nothing", new Uint8Array(0)],
    ] as const
  ).map(
    ([title, frame]): Case => ({
      row: "I1",
      title,
      input: vif(frame),
      verdict: UNTOUCHED,
      reason: undefined,
    }),
  ),
  {
    row: "I1",
    title: "ARP for a service address on an interface that is no vif",
    input: vif(windowsArpRequest(), { ifindex: 99 }),
    verdict: UNTOUCHED,
    reason: undefined,
  },
  {
    row: "I1",
    title: "IPv4 to a service address on an interface that is no vif",
    input: vif(tcpFrame({ ...fromGuest, ...syn }), { ifindex: 99 }),
    verdict: UNTOUCHED,
    reason: undefined,
  },
  {
    row: "V",
    title: "802.1Q",
    input: vif(tcpFrame({ ...fromGuest, ...syn, vlanTags: [tag(ETHER_TYPE.vlan)] })),
    verdict: UNTOUCHED,
    reason: "vlan",
  },
  {
    row: "V",
    title: "802.1ad around ARP",
    input: vif(arpRequest({ ...ask, targetAddress: METADATA, vlanTags: [tag(ETHER_TYPE.serviceVlan)] })),
    verdict: UNTOUCHED,
    reason: "vlan",
  },
  {
    row: "V",
    title: "the stump of a tag, on an interface that is no vif",
    input: vif(ethernetFrame({ ...fromGuest, etherType: ETHER_TYPE.vlan, payload: Uint8Array.of(0) }), {
      ifindex: 99,
    }),
    verdict: UNTOUCHED,
    reason: "vlan",
    vif: undefined,
  },
];

const natCases: Case[] = [
  {
    row: "I2",
    title: "a SYN to a host-local backend keeps TOS, id, TCP options and the guest's port; the TTL is set",
    input: openTcp,
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "127.0.0.1",
        ...natSyn,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "IP options and padding stay",
    input: vif(tcpFrame({ ...fromGuest, ...syn, ip: { options }, padTo: 90 })),
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "127.0.0.1",
        ...natSyn,
        ip: { options },
        padTo: 90,
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "the answer carries the service's hop limit",
    before: [openTcp],
    input: host(
      tcpFrame({
        ...fromServer,
        sourcePort: 8080,
        destinationPort: 40000,
        flags: TCP_FLAG.syn | TCP_FLAG.ack,
      }),
    ),
    verdict: toVif(
      tcpFrame({
        ...fromService,
        sourcePort: 80,
        destinationPort: 40000,
        flags: TCP_FLAG.syn | TCP_FLAG.ack,
        ip: { ttl: 2 },
      }),
    ),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "I2",
    title: "UDP to a fabric backend leaves from a reserved port",
    input: openUdp,
    verdict: send(TO_FABRIC, udpFrame({ ...onFabric, ...natQuery, ip: { ...fromGuest.ip, ttl: 64 } })),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "UDP without checksum stays without",
    input: vif(udpFrame({ ...toDns, ...query, udp: { checksum: 0 } })),
    verdict: send(
      TO_FABRIC,
      udpFrame({ ...onFabric, ...natQuery, udp: { checksum: 0 }, ip: { ...fromGuest.ip, ttl: 64 } }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "the answer from the fabric",
    before: [openUdp],
    input: fabric(udpFrame({ ...fromBackend, ...answer, padTo: 60 })),
    verdict: toVif(udpFrame({ ...fromDns, ...answer, destinationPort: 40000, padTo: 60 })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "I2",
    title: "the answer goes to where the guest's last frame came from, and comes from where that went to",
    before: [openUdp, vif(udpFrame({ ...toDns, ...query, destinationMac: ROUTER_MAC }))],
    input: fabric(udpFrame({ ...fromBackend, ...answer })),
    verdict: toVif(
      udpFrame({
        ...fromDns,
        sourceMac: ROUTER_MAC,
        sourcePort: 53,
        destinationPort: 40000,
        data: answer.data,
      }),
    ),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "I2",
    title: "the guest of another vif with the same address and port gets another flow",
    before: [openUdp],
    input: vif(udpFrame({ ...toDns, ...query }), { ifindex: PLAIN_VIF }),
    verdict: send(
      TO_FABRIC,
      udpFrame({ ...onFabric, ...natQuery, sourcePort: 61001, ip: { ...fromGuest.ip, ttl: 64 } }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "a SYN on a closing flow opens a new one from the same port",
    before: [openTcp, vif(tcpFrame({ ...fromGuest, ...syn, flags: TCP_FLAG.rst }))],
    input: openTcp,
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "127.0.0.1",
        ...natSyn,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "towards the fabric too, where the next flow of others would get another",
    given: (state) => {
      const backend = {
        kind: "fabric",
        address: DNS_BACKEND,
        port: 8080,
        source: FABRIC_SOURCE,
        ifindex: FABRIC,
      } as const;
      setService(
        state,
        { address: METADATA, protocol: "tcp", port: 80 },
        { id: 1, backends: [backend], responseHopLimit: 64, whenNoBackend: "reject" },
      );
    },
    before: [openTcp, vif(tcpFrame({ ...fromGuest, ...syn, flags: TCP_FLAG.rst }))],
    input: openTcp,
    verdict: send(
      TO_FABRIC,
      tcpFrame({ ...onFabric, ...natSyn, sourcePort: 61000, ip: { ...fromGuest.ip, ttl: 64 } }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "port 0 is no port that could stay",
    input: vif(tcpFrame({ ...fromGuest, ...syn, sourcePort: 0 })),
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "127.0.0.1",
        ...natSyn,
        sourcePort: 1024,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "I2",
    title: "a server on the host may answer from whichever of its addresses",
    before: [openTcp],
    input: host(
      tcpFrame({
        ...fromServer,
        source: "192.0.2.1",
        sourcePort: 8080,
        destinationPort: 40000,
        flags: TCP_FLAG.ack,
      }),
    ),
    verdict: toVif(
      tcpFrame({
        ...fromService,
        sourcePort: 80,
        destinationPort: 40000,
        flags: TCP_FLAG.ack,
        ip: { ttl: 2 },
      }),
    ),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "I2",
    title: "TCP without a flow is answered with a RST",
    input: vif(tcpFrame({ ...fromGuest, ...syn, flags: TCP_FLAG.ack, tcp: { acknowledgement: 99 } })),
    verdict: toVif(
      tcpFrame({
        ...fromService,
        sourcePort: 80,
        destinationPort: 40000,
        flags: TCP_FLAG.rst,
        tcp: { sequence: 99, window: 0 },
        ip: { dontFragment: true },
      }),
    ),
    reason: "no-flow",
  },
  {
    row: "I2",
    title: "no port is left towards the fabric backend",
    given: (state) => {
      state.settings.fabricPorts = { min: 61000, max: 61000 };
    },
    before: [openUdp],
    input: vif(udpFrame({ ...toDns, ...query, sourcePort: 40001 })),
    verdict: DROP,
    reason: "no-port",
  },
  ...(
    [
      [
        "an answer to a flow that is not there",
        udpFrame({ ...fromBackend, ...answer, destinationPort: 61001 }),
      ],
      ["an answer from another host", udpFrame({ ...fromBackend, ...answer, source: "192.0.2.54" })],
      ["an answer from another port", udpFrame({ ...fromBackend, ...answer, sourcePort: 54 })],
      ["an answer to another address", udpFrame({ ...fromBackend, ...answer, destination: "198.51.100.8" })],
      ["an answer in another protocol", tcpFrame({ ...fromBackend, sourcePort: 53, destinationPort: 61000 })],
      ["a port below the range", udpFrame({ ...fromBackend, ...answer, destinationPort: 60999 })],
      ["a lying header", udpFrame({ ...fromBackend, ...answer, ip: { totalLength: 19 } })],
      ["a lying UDP length", udpFrame({ ...fromBackend, ...answer, udp: { length: 99 } })],
      ["a VLAN", udpFrame({ ...fromBackend, ...answer, vlanTags: [tag(ETHER_TYPE.vlan)] })],
      ["ARP", windowsArpRequest()],
      ["a ping", echoRequest({ ...fromBackend, ...ping })],
      ["33 bytes", udpFrame({ ...fromBackend, ...answer }).subarray(0, 33)],
    ] as const
  ).map(
    ([title, frame]): Case => ({
      row: "I2",
      title: `from the fabric: ${title}`,
      before: [openUdp],
      input: fabric(frame),
      verdict: UNTOUCHED,
      reason: undefined,
    }),
  ),
  {
    row: "I2",
    title: "from the fabric: an answer that another host on the link gets too",
    before: [openUdp],
    input: fabric(udpFrame({ ...fromBackend, ...answer }), false),
    verdict: UNTOUCHED,
    reason: undefined,
  },
];

const echoCases: Case[] = [
  {
    row: "I3",
    title: "a ping keeps TOS, id and options",
    input: vif(echoRequest({ ...fromGuest, ...ping, ip: { ...fromGuest.ip, options }, padTo: 70 })),
    verdict: toVif(
      echoReply({ ...fromService, ...ping, ip: { ...fromGuest.ip, options, ttl: 64 }, padTo: 70 }),
    ),
    reason: "echo-reply",
  },
  {
    row: "I3",
    title: "a code that is not zero stays",
    input: vif(echoRequest({ ...fromGuest, ...ping, icmp: { code: 9 } })),
    verdict: toVif(
      echoReply({ ...fromService, ...ping, icmp: { code: 9 }, ip: { ...fromGuest.ip, ttl: 64 } }),
    ),
    reason: "echo-reply",
  },
  {
    row: "I3",
    title: "an echo reply that nobody asked for",
    input: vif(echoReply({ ...fromGuest, ...ping })),
    verdict: DROP,
    reason: "no-flow",
  },
];

const strayUdp = udpFrame({ ...fromGuest, ...query, ip: { options }, padTo: 100 });
const unreachable = {
  ...fromService,
  type: ICMP_TYPE.destinationUnreachable,
  ip: { tos: 0xc0, dontFragment: true },
};
const reset = { ...fromService, flags: TCP_FLAG.rst | TCP_FLAG.ack, ip: { dontFragment: true } };

const rejectCases: Case[] = [
  {
    row: "I4",
    title: "a SYN to a port without service",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 8080, padTo: 100 })),
    verdict: toVif(
      tcpFrame({
        ...reset,
        sourcePort: 8080,
        destinationPort: 40000,
        tcp: { acknowledgement: 8, window: 0 },
      }),
    ),
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "data and FIN without ACK; the options of the asker become zeros, the sequence number wraps",
    input: vif(
      tcpFrame({
        ...fromGuest,
        ...syn,
        destinationPort: 8080,
        flags: TCP_FLAG.fin,
        data: new Uint8Array(5),
        tcp: { sequence: 0xfffffffe },
        ip: { options },
      }),
    ),
    verdict: toVif(
      tcpFrame({
        ...reset,
        sourcePort: 8080,
        destinationPort: 40000,
        tcp: { acknowledgement: 4, window: 0 },
        ip: { dontFragment: true, options: new Uint8Array(8) },
      }),
    ),
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "never in answer to a RST",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 8080, flags: TCP_FLAG.rst })),
    verdict: DROP,
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "UDP: port unreachable, which quotes header, options and 8 bytes",
    input: vif(strayUdp),
    verdict: toVif(
      icmpError({ ...unreachable, code: UNREACHABLE_CODE.port, quoted: strayUdp.slice(14, 14 + 28 + 8) }),
    ),
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "another protocol: protocol unreachable, which quotes what there is",
    input: vif(ipv4Frame({ ...fromGuest, protocol: 132, payload: Uint8Array.of(1, 2, 3), padTo: 60 })),
    verdict: toVif(
      icmpError({
        ...unreachable,
        code: UNREACHABLE_CODE.protocol,
        quoted: ipv4Frame({ ...fromGuest, protocol: 132, payload: Uint8Array.of(1, 2, 3) }).slice(14),
      }),
    ),
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "a vif that drops",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 8080 }), { ifindex: PLAIN_VIF }),
    verdict: DROP,
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "ICMP of another type is not answered",
    input: vif(ipv4Frame({ ...fromGuest, protocol: 1, payload: Uint8Array.of(13, 0, 0, 0, 0, 0, 0, 0) })),
    verdict: DROP,
    reason: "unknown-port",
  },
  {
    row: "I4",
    title: "a service without backends rejects, also where the vif drops unknown ports",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 81 }), { ifindex: PLAIN_VIF }),
    verdict: toVif(
      tcpFrame({ ...reset, sourcePort: 81, destinationPort: 40000, tcp: { acknowledgement: 8, window: 0 } }),
      PLAIN_VIF,
    ),
    reason: "no-backend",
  },
  {
    row: "I4",
    title: "a service without backends drops",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 82 })),
    verdict: DROP,
    reason: "no-backend",
  },
  {
    row: "I4",
    title: "a service without backends passes",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 83 })),
    verdict: UNTOUCHED,
    reason: "no-backend",
  },
  {
    row: "I4",
    title: "a service that was removed and still has flows opens no more",
    input: vif(tcpFrame({ ...fromGuest, ...syn, destinationPort: 84 })),
    verdict: toVif(
      tcpFrame({ ...reset, sourcePort: 84, destinationPort: 40000, tcp: { acknowledgement: 8, window: 0 } }),
    ),
    reason: "unknown-port",
  },
];

const big = { ...query, data: Uint8Array.from({ length: 100 }, (_, index) => index) };
const splittable = { tos: 0x28, identification: 0x1234, ttl: 128 };
const fragments = fragmentFrame(udpFrame({ ...toDns, ...big, ip: splittable }), 64);
const natFragments = fragmentFrame(
  udpFrame({ ...onFabric, ...big, sourcePort: 61000, ip: { ...splittable, ttl: 64 } }),
  64,
);
const pings = fragmentFrame(
  echoRequest({ ...fromGuest, ...ping, data: new Uint8Array(80), ip: splittable }),
  64,
);
const pongs = fragmentFrame(
  echoReply({ ...fromService, ...ping, data: new Uint8Array(80), ip: { ...splittable, ttl: 64 } }),
  64,
);
const pieces = fragmentFrame(
  udpFrame({ ...fromBackend, ...answer, data: big.data, ip: { identification: 7 } }),
  64,
);
const returnedPieces = fragmentFrame(
  udpFrame({ ...fromDns, ...answer, destinationPort: 40000, data: big.data, ip: { identification: 7 } }),
  64,
);

const fragmentCases: Case[] = [
  {
    row: "I5",
    title: "the first fragment, whose UDP length goes beyond it",
    input: vif(fragments[0]!),
    verdict: send(TO_FABRIC, natFragments[0]!),
    reason: "forwarded",
  },
  {
    row: "I5",
    title: "a later one follows",
    before: [vif(fragments[0]!)],
    input: vif(fragments[1]!, { now: NOW + 30n * NS_PER_S }),
    verdict: send(TO_FABRIC, natFragments[1]!),
    reason: "forwarded",
  },
  {
    row: "I5",
    title: "not after 30 s",
    before: [vif(fragments[0]!)],
    input: vif(fragments[1]!, { now: NOW + 30n * NS_PER_S + 1n }),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "a later one that comes first",
    input: vif(fragments[1]!),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "a later one of another packet",
    before: [vif(fragments[0]!)],
    input: vif(withIdentification(fragments[1]!, 0x1235)),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "a later one of another protocol",
    before: [vif(fragments[0]!)],
    input: vif(withByte(fragments[1]!, 23, 6)),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "a later one on another vif",
    before: [vif(fragments[0]!)],
    input: vif(fragments[1]!, { ifindex: PLAIN_VIF }),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "a first one whose place another has taken",
    before: [vif(fragments[0]!), vif(withIdentification(fragments[0]!, 0x1244))],
    input: vif(fragments[1]!),
    verdict: DROP,
    reason: "fragment",
  },
  {
    row: "I5",
    title: "the first fragment of a ping",
    input: vif(pings[0]!),
    verdict: toVif(pongs[0]!),
    reason: "echo-reply",
  },
  {
    row: "I5",
    title: "the rest of a ping",
    before: [vif(pings[0]!)],
    input: vif(pings[1]!),
    verdict: toVif(pongs[1]!),
    reason: "echo-reply",
  },
  {
    row: "I5",
    title: "from the fabric: the rest of an answer",
    before: [openUdp, fabric(pieces[0]!)],
    input: fabric(pieces[1]!),
    verdict: toVif(returnedPieces[1]!),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "I5",
    title: "from the fabric: a later one that comes first",
    before: [openUdp],
    input: fabric(pieces[1]!),
    verdict: UNTOUCHED,
    reason: undefined,
  },
  {
    row: "I5",
    title: "from the host: a later one that comes first",
    input: host(pieces[1]!),
    verdict: DROP,
    reason: "fragment",
    vif: undefined,
  },
];

/** What is quoted of a frame: its packet, as far as `length` bytes. */
function quote(frame: Uint8Array, length?: number): Uint8Array {
  return frame.slice(14, length === undefined ? undefined : 14 + length);
}
const tooBig = {
  type: ICMP_TYPE.destinationUnreachable,
  code: UNREACHABLE_CODE.fragmentationNeeded,
  parameter: 1400,
};
const guestError = {
  ...toDns,
  type: ICMP_TYPE.destinationUnreachable,
  code: UNREACHABLE_CODE.port,
  ip: { tos: 0xc0 },
};

const quotedAnswer = quote(udpFrame({ ...fromDns, ...answer, destinationPort: 40000 }));
const natSynOnHost = tcpFrame({ ...onHost, source: METADATA_ADDRESS, destination: "127.0.0.1", ...natSyn });

/** The guest's SYN as an error quotes it. Of a checksum that is not quoted whole, what there is stays as it came. */
function quotedSyn(length: number): Uint8Array {
  const whole = quote(tcpFrame({ ...fromGuest, ...syn, ip: {} }), 20 + length);
  return length === 17 ? withByte(whole, 36, natSynOnHost[14 + 36]!) : whole;
}

const icmpErrorCases: Case[] = [
  ...[8, 17, 18, 19].map(
    (length): Case => ({
      row: "I6",
      title: `the host's stack, about a TCP segment of which ${length} bytes are quoted`,
      before: [openTcp],
      input: host(icmpError({ ...fromServer, ...tooBig, quoted: quote(natSynOnHost, 20 + length) })),
      verdict: toVif(
        icmpError({
          ...fromService,
          ...tooBig,
          ip: { ttl: 2 },
          quoted: quotedSyn(length),
        }),
      ),
      reason: "icmp-error",
      vif: VIF,
    }),
  ),
  {
    row: "I6",
    title:
      "the guest's error with a quoted header of 16 bytes, where the address would be read as ports of a flow",
    given: (state) => {
      const service = state.services.get(serviceKey(DNS, "udp", 53))!;
      setService(state, { address: DNS, protocol: "udp", port: 0x0a00 }, service);
    },
    before: [vif(udpFrame({ ...toDns, sourcePort: 0x0103, destinationPort: 0x0a00 }))],
    input: vif(icmpError({ ...guestError, quoted: withByte(quotedAnswer, 0, 0x44) })),
    verdict: DROP,
    reason: "no-flow",
  },
  {
    row: "I6",
    title: "a first fragment of an error is not looked into",
    before: [openUdp],
    input: vif(icmpError({ ...guestError, quoted: quotedAnswer, ip: { moreFragments: true } })),
    verdict: DROP,
    reason: "unknown-port",
  },
  {
    row: "I6",
    title: "an error to another address than that of the packet it is about",
    before: [openUdp],
    input: fabric(
      icmpError({
        ...fromBackend,
        ...tooBig,
        destination: "198.51.100.8",
        quoted: quote(udpFrame({ ...onFabric, ...natQuery })),
      }),
    ),
    verdict: UNTOUCHED,
    reason: undefined,
  },
  {
    row: "I6",
    title: "a router on the fabric says that the query was too big; the guest hears it from the service",
    before: [openUdp],
    input: fabric(
      icmpError({
        ...fromFabric,
        ...tooBig,
        source: "203.0.113.1",
        destination: FABRIC_SOURCE,
        quoted: quote(udpFrame({ ...onFabric, ...natQuery, ip: { ttl: 60 } }), 28),
      }),
    ),
    verdict: toVif(
      icmpError({
        ...fromDns,
        ...tooBig,
        quoted: quote(udpFrame({ ...toDns, ...query, ip: { ttl: 60 } }), 28),
      }),
    ),
    reason: "icmp-error",
    vif: VIF,
  },
  {
    row: "I6",
    title: "the guest has closed its port",
    before: [openUdp],
    input: vif(
      icmpError({
        ...guestError,
        quoted: quote(udpFrame({ ...fromDns, ...answer, destinationPort: 40000 })),
      }),
    ),
    verdict: send(
      TO_FABRIC,
      icmpError({
        ...onFabric,
        type: ICMP_TYPE.destinationUnreachable,
        code: UNREACHABLE_CODE.port,
        ip: { tos: 0xc0 },
        quoted: quote(udpFrame({ ...fromBackend, ...answer })),
      }),
    ),
    reason: "icmp-error",
  },
  {
    row: "I6",
    title: "the host's stack, about a TCP segment that is quoted whole",
    before: [openTcp],
    input: host(
      icmpError({
        ...fromServer,
        ...tooBig,
        quoted: quote(tcpFrame({ ...onHost, source: METADATA_ADDRESS, destination: "127.0.0.1", ...natSyn })),
      }),
    ),
    verdict: toVif(
      icmpError({
        ...fromService,
        ...tooBig,
        ip: { ttl: 2 },
        quoted: quote(tcpFrame({ ...fromGuest, ...syn, ip: {} })),
      }),
    ),
    reason: "icmp-error",
    vif: VIF,
  },
  ...(
    [
      [
        "about another flow",
        icmpError({
          ...guestError,
          quoted: quote(udpFrame({ ...fromDns, ...answer, destinationPort: 40001 })),
        }),
      ],
      [
        "about a packet that it did not get from this address",
        icmpError({
          ...guestError,
          destination: METADATA,
          quoted: quote(udpFrame({ ...fromDns, ...answer, destinationPort: 40000 })),
        }),
      ],
      [
        "with 7 bytes of UDP",
        icmpError({
          ...guestError,
          quoted: quote(udpFrame({ ...fromDns, ...answer, destinationPort: 40000 }), 27),
        }),
      ],
      ["with nothing quoted", icmpError({ ...guestError, quoted: new Uint8Array(0) })],
      ["about a ping", icmpError({ ...guestError, quoted: quote(echoReply({ ...fromDns, ...ping })) })],
      ["about a later fragment", icmpError({ ...guestError, quoted: withByte(quotedAnswer, 7, 1) })],
      ["about IPv5", icmpError({ ...guestError, quoted: withByte(quotedAnswer, 0, 0x55) })],
    ] as const
  ).map(
    ([title, frame]): Case => ({
      row: "I6",
      title: `the guest's error ${title}`,
      before: [openUdp],
      input: vif(frame),
      verdict: DROP,
      reason: "no-flow",
    }),
  ),
  {
    row: "I6",
    title: "a redirect is not passed on",
    before: [openUdp],
    input: fabric(
      icmpError({
        ...fromBackend,
        type: ICMP_TYPE.redirect,
        code: 1,
        quoted: quote(udpFrame({ ...onFabric, ...natQuery })),
      }),
    ),
    verdict: UNTOUCHED,
    reason: undefined,
  },
  {
    row: "I6",
    title: "the fabric's error about a packet of the host itself",
    before: [openUdp],
    input: fabric(
      icmpError({
        ...fromBackend,
        ...tooBig,
        quoted: quote(udpFrame({ ...onFabric, ...natQuery, sourcePort: 50000 })),
      }),
    ),
    verdict: UNTOUCHED,
    reason: undefined,
  },
];

const spoofCases: Case[] = [
  ...(
    [
      ["another address", tcpFrame({ ...fromGuest, ...syn, source: "10.0.1.4" })],
      ["a service address", tcpFrame({ ...fromGuest, ...syn, source: DNS })],
      ["the gateway MAC", tcpFrame({ ...fromGuest, ...syn, sourceMac: GATEWAY_MAC })],
      [
        "another address, in a later fragment",
        ipv4Frame({
          ...fromGuest,
          source: "10.0.1.4",
          protocol: 17,
          payload: new Uint8Array(8),
          ip: { fragmentOffset: 8 },
        }),
      ],
    ] as const
  ).map(
    ([title, frame]): Case => ({ row: "I7", title, input: vif(frame), verdict: DROP, reason: "spoofed" }),
  ),
  {
    row: "I7",
    title: "a guest without DHCP may use a link-local address",
    input: vif(tcpFrame({ ...fromGuest, ...syn, source: "169.254.7.7" })),
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "127.0.0.1",
        ...natSyn,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "I7",
    title: "a vif without anti-spoofing",
    input: vif(tcpFrame({ ...fromGuest, ...syn, source: "10.0.1.4", sourceMac: GATEWAY_MAC }), {
      ifindex: PLAIN_VIF,
    }),
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: "169.254.64.6",
        destination: "127.0.0.1",
        ...natSyn,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
];

const limitCases: Case[] = [
  {
    row: "I8",
    title: "the vif's limit",
    given: (state) => {
      state.settings.maxFlowsPerVif = 1;
    },
    before: [openUdp],
    input: openTcp,
    verdict: DROP,
    reason: "limit",
  },
  {
    row: "I8",
    title: "the system's limit, reached by another vif",
    given: (state) => {
      state.settings.maxFlows = 1;
    },
    before: [vif(udpFrame({ ...toDns, ...query }), { ifindex: PLAIN_VIF })],
    input: openTcp,
    verdict: DROP,
    reason: "limit",
  },
  {
    row: "I8",
    title: "an existing flow goes on",
    given: (state) => {
      state.settings.maxFlows = 1;
    },
    before: [openUdp],
    input: openUdp,
    verdict: send(TO_FABRIC, udpFrame({ ...onFabric, ...natQuery, ip: { ...fromGuest.ip, ttl: 64 } })),
    reason: "forwarded",
  },
];

const malformedCases: Case[] = (
  [
    ["version 5", withByte(tcpFrame({ ...fromGuest, ...syn }), 14, 0x55)],
    ["ihl 4", withByte(tcpFrame({ ...fromGuest, ...syn }), 14, 0x44)],
    ["a total length less than the header", tcpFrame({ ...fromGuest, ...syn, ip: { totalLength: 19 } })],
    ["a total length beyond the frame", tcpFrame({ ...fromGuest, ...syn, ip: { totalLength: 45 } })],
    ["a broadcast frame", tcpFrame({ ...fromGuest, ...syn, destinationMac: BROADCAST_MAC })],
    ["a multicast frame", tcpFrame({ ...fromGuest, ...syn, destinationMac: "01:00:5e:00:00:01" })],
    ["source 0.0.0.0", udpFrame({ ...toDns, ...query, source: "0.0.0.0" })],
    ["source 127.0.0.1", udpFrame({ ...toDns, ...query, source: "127.0.0.1" })],
    ["source 224.0.0.1", udpFrame({ ...toDns, ...query, source: "224.0.0.1" })],
    ["source 255.255.255.255", udpFrame({ ...toDns, ...query, source: "255.255.255.255" })],
    ["19 bytes of TCP", ipv4Frame({ ...fromGuest, protocol: 6, payload: new Uint8Array(19) })],
    ["a TCP header of 16 bytes", tcpFrame({ ...fromGuest, ...syn, tcp: { headerLength: 16 } })],
    ["a TCP header beyond the packet", tcpFrame({ ...fromGuest, ...syn, tcp: { headerLength: 28 } })],
    ["7 bytes of UDP", ipv4Frame({ ...fromGuest, protocol: 17, payload: new Uint8Array(7) })],
    ["a UDP length of 7", udpFrame({ ...toDns, ...query, udp: { length: 7 } })],
    ["a UDP length beyond the packet", udpFrame({ ...toDns, ...query, udp: { length: 20 }, padTo: 60 })],
    ["7 bytes of ICMP", ipv4Frame({ ...fromGuest, protocol: 1, payload: new Uint8Array(7) })],
  ] as const
).map(
  ([title, frame]): Case => ({ row: "I9", title, input: vif(frame), verdict: DROP, reason: "malformed" }),
);

const ssh = { sourcePort: 50000, destinationPort: 22, flags: TCP_FLAG.syn };
const fromAdmin = { ...fromHost, source: "192.0.2.1", destination: METADATA_ADDRESS };
const openSsh = host(tcpFrame({ ...fromAdmin, ...ssh }));

const hostCases: Case[] = [
  {
    row: "host",
    title: "ssh to a metadata address, seen as from the service",
    input: openSsh,
    verdict: toVif(tcpFrame({ ...fromService, ...ssh })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "host",
    title: "the guest's answer",
    before: [openSsh],
    input: vif(
      tcpFrame({ ...fromGuest, sourcePort: 22, destinationPort: 50000, flags: TCP_FLAG.syn | TCP_FLAG.ack }),
    ),
    verdict: send(
      TO_HOST,
      tcpFrame({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "192.0.2.1",
        sourcePort: 22,
        destinationPort: 50000,
        flags: TCP_FLAG.syn | TCP_FLAG.ack,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "host",
    title: "a SYN on a closing flow that the host opened comes from the same port",
    before: [openSsh, host(tcpFrame({ ...fromAdmin, ...ssh, flags: TCP_FLAG.rst }))],
    input: openSsh,
    verdict: toVif(tcpFrame({ ...fromService, ...ssh })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "host",
    title: "a SYN on a closing flow that the guest opened keeps its port",
    given: (state) => {
      const backend = { kind: "host-local", address: "127.0.0.1", port: 80 } as const;
      setService(
        state,
        { address: METADATA, protocol: "tcp", port: 80 },
        { id: 1, backends: [backend], responseHopLimit: 64, whenNoBackend: "reject" },
      );
    },
    before: [openTcp, vif(tcpFrame({ ...fromGuest, ...syn, flags: TCP_FLAG.rst }))],
    input: host(tcpFrame({ ...fromAdmin, sourcePort: 80, destinationPort: 40000, flags: TCP_FLAG.syn })),
    verdict: toVif(tcpFrame({ ...fromService, sourcePort: 80, destinationPort: 40000, flags: TCP_FLAG.syn })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "host",
    title: "a ping of the guest keeps its identifier",
    input: pingGuest,
    verdict: toVif(echoRequest({ ...fromService, ...ping })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "host",
    title: "a ping with identifier 0",
    input: host(echoRequest({ ...fromAdmin, ...ping, identifier: 0 })),
    verdict: toVif(echoRequest({ ...fromService, ...ping, identifier: 0 })),
    reason: "returned",
    vif: VIF,
  },
  {
    row: "host",
    title: "the guest answers the ping",
    before: [pingGuest],
    input: vif(echoReply({ ...fromGuest, ...ping })),
    verdict: send(
      TO_HOST,
      echoReply({
        ...onHost,
        source: METADATA_ADDRESS,
        destination: "192.0.2.1",
        ...ping,
        ip: { ...fromGuest.ip, ttl: 64 },
      }),
    ),
    reason: "forwarded",
  },
  {
    row: "host",
    title: "a guest that is known by its own frames alone",
    before: [vif(echoRequest({ ...fromGuest, ...ping }), { ifindex: PLAIN_VIF })],
    input: host(tcpFrame({ ...fromAdmin, ...ssh, destination: "169.254.64.6" })),
    verdict: toVif(tcpFrame({ ...fromService, ...ssh }), PLAIN_VIF),
    reason: "returned",
    vif: PLAIN_VIF,
  },
  {
    row: "host",
    title: "a guest that is not known",
    input: host(tcpFrame({ ...fromAdmin, ...ssh, destination: "169.254.64.6" })),
    verdict: DROP,
    reason: "no-flow",
    vif: PLAIN_VIF,
  },
  {
    row: "host",
    title: "no service address to come from",
    given: (state) => {
      state.settings.hostServiceAddress = undefined;
    },
    input: openSsh,
    verdict: DROP,
    reason: "no-flow",
    vif: VIF,
  },
  ...(
    [
      ["an address of no vif", tcpFrame({ ...fromAdmin, ...ssh, destination: "169.254.64.99" }), "no-flow"],
      ["TCP without a flow", tcpFrame({ ...fromAdmin, ...ssh, flags: TCP_FLAG.ack }), "no-flow"],
      ["an echo reply", echoReply({ ...fromAdmin, ...ping }), "no-flow"],
      ["another protocol", ipv4Frame({ ...fromAdmin, protocol: 132, payload: new Uint8Array(8) }), "no-flow"],
      [
        "an ICMP error about no flow",
        icmpError({ ...fromAdmin, ...tooBig, quoted: quote(strayUdp) }),
        "no-flow",
      ],
      ["a lying header", tcpFrame({ ...fromAdmin, ...ssh, ip: { totalLength: 99 } }), "malformed"],
      ["a lying UDP length", udpFrame({ ...fromAdmin, ...query, udp: { length: 99 } }), "malformed"],
      ["ARP", windowsArpRequest(), undefined],
      ["a VLAN", tcpFrame({ ...fromAdmin, ...ssh, vlanTags: [tag(ETHER_TYPE.vlan)] }), undefined],
      ["33 bytes", tcpFrame({ ...fromAdmin, ...ssh }).subarray(0, 33), undefined],
    ] as const
  ).map(
    ([title, frame, reason]): Case => ({
      row: "host",
      title,
      input: host(frame),
      verdict: DROP,
      reason,
      vif: undefined,
    }),
  ),
];

/** The whole list. */
export const CASES: Case[] = [
  ...arpCases,
  ...aloneCases,
  ...natCases,
  ...echoCases,
  ...rejectCases,
  ...fragmentCases,
  ...icmpErrorCases,
  ...spoofCases,
  ...limitCases,
  ...malformedCases,
  ...hostCases,
];

function tag(type: number): { type: number; priority: number; dropEligible: boolean; id: number } {
  return { type, priority: 0, dropEligible: false, id: 7 };
}

function withByte(frame: Uint8Array, offset: number, value: number): Uint8Array {
  const changed = frame.slice();
  changed[offset] = value;
  return changed;
}

/** The fragment with another identification; its header checksum goes wrong, which nobody looks at. */
function withIdentification(frame: Uint8Array, identification: number): Uint8Array {
  return withByte(withByte(frame, 18, identification >>> 8), 19, identification & 0xff);
}
