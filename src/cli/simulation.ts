/**
 * The demo without a network: two guests whose stacks decide as `src/endpoint` says, and onlink as `src/model` says. Every frame is
 * built, parsed and checked as on a wire; time is counted, not waited for. Pure, and free of anything that needs Linux.
 */
import { type Decision, decide } from "../endpoint/decide.ts";
import { parseTables } from "../endpoint/detect.ts";
import type { Neighbour, System } from "../endpoint/types.ts";
import { describeVerdict } from "../model/describe.ts";
import { type ModelState, newState, setService, setVif } from "../model/state.ts";
import { type StepInput, step } from "../model/step.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { ARP_OPERATION } from "../packet/arp.ts";
import { arpReply, arpRequest, tcpFrame } from "../packet/build.ts";
import { frameErrors, type Network, parseFrame } from "../packet/frame.ts";
import { TCP_FLAG, type TcpSegment } from "../packet/tcp.ts";

/** The service, and where it really runs. */
export const SERVICE = { address: "169.254.169.254", port: 80 };
export const BACKEND = { address: "127.0.0.1", port: 8775 };

/** The host's MAC on every vif, and that of onlink0. */
const HOST_MAC = "02:00:00:00:00:fe";
const ONLINK0_MAC = "02:00:00:00:00:ff";
const ONLINK0_IFINDEX = 2;

/** A guest of the problem as it was first described. */
export interface SimulatedGuest {
  system: Extract<System, "linux" | "windows">;
  address: string;
  gateway: string;
  mac: string;
  /** Of its vif. */
  ifindex: number;
  /** The host's address for it. */
  metadataAddress: string;
  /** Its routing table, as its own system prints it. */
  routes: readonly string[];
}

/** The two guests, with the routing tables that they had. */
export const SIMULATED_GUESTS: readonly SimulatedGuest[] = [
  {
    system: "linux",
    address: "10.0.1.3",
    gateway: "10.0.1.1",
    mac: "02:00:0a:00:01:03",
    ifindex: 3,
    metadataAddress: "169.254.64.2",
    routes: ["default via 10.0.1.1 dev ens3", "10.0.1.0/24 dev ens3 proto kernel scope link src 10.0.1.3"],
  },
  {
    system: "windows",
    address: "10.0.0.10",
    gateway: "10.0.0.1",
    mac: "02:00:0a:00:00:0a",
    ifindex: 4,
    metadataAddress: "169.254.64.3",
    routes: [
      "Active Routes:",
      "Network Destination        Netmask          Gateway       Interface  Metric",
      "          0.0.0.0          0.0.0.0         10.0.0.1        10.0.0.10    271",
      "         10.0.0.0    255.255.255.0         On-link         10.0.0.10    271",
      "        10.0.0.10  255.255.255.255         On-link         10.0.0.10    271",
      "       10.0.0.255  255.255.255.255         On-link         10.0.0.10    271",
      "        127.0.0.0        255.0.0.0         On-link         127.0.0.1    331",
      "        127.0.0.1  255.255.255.255         On-link         127.0.0.1    331",
      "  127.255.255.255  255.255.255.255         On-link         127.0.0.1    331",
      "        224.0.0.0        240.0.0.0         On-link         127.0.0.1    331",
      "        224.0.0.0        240.0.0.0         On-link         10.0.0.10    271",
      "  255.255.255.255  255.255.255.255         On-link         127.0.0.1    331",
      "  255.255.255.255  255.255.255.255         On-link         10.0.0.10    271",
    ],
  },
];

/** A neighbour as the guest has it in the end. */
export type SimulatedNeighbour = Required<Pick<Neighbour, "address" | "state">> & Pick<Neighbour, "mac">;

/** A frame on its way. */
export interface SimulatedFrame {
  /** Seconds since the guest began. */
  at: number;
  from: "guest" | "host";
  frame: Uint8Array;
  /** What became of it, without a capital and a full stop. */
  outcome: string;
}

/** All that came of a guest's request. */
export interface Exchange {
  guest: SimulatedGuest;
  decision: Decision;
  frames: SimulatedFrame[];
  neighbours: SimulatedNeighbour[];
  /** The service's answer, and the address that it saw; undefined: none came. */
  answer: { status: number; seenFrom: string } | undefined;
}

/** How often a stack asks by ARP, and sends a SYN, before it gives up; a second lies between (Linux: mcast_solicit, retrans_time_ms). */
const TRIES = 3;

/** Seconds. */
const RETRY_AFTER = 1;

/** What a frame takes, in seconds. */
const FRAME_TIME = 0.001;

/** The port that a guest asks from. */
const CLIENT_PORT = 49152;
const CLIENT_SEQUENCE = 1000;
const SERVER_SEQUENCE = 5000;

/** The datapath with the service and the guests' vifs, as `onlink run` would set it up. */
export function simulatedDatapath(guests: readonly SimulatedGuest[] = SIMULATED_GUESTS): ModelState {
  const state = newState({
    hostMac: ONLINK0_MAC,
    gatewayMac: GATEWAY_MAC,
    hostServiceAddress: SERVICE.address,
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
  setService(
    state,
    { address: SERVICE.address, protocol: "tcp", port: SERVICE.port },
    { id: 1, backends: [{ kind: "host-local", ...BACKEND }], responseHopLimit: 64, whenNoBackend: "reject" },
  );
  for (const { ifindex, metadataAddress, address, mac } of guests) {
    setVif(state, ifindex, {
      metadataAddress,
      addresses: [address],
      mac,
      antiSpoof: true,
      unknownPort: "reject",
      arpReply: "unicast",
    });
  }
  return state;
}

/** Lets a guest ask the service over HTTP, on a host with onlink (`datapath`, which changes) or without it. */
export function simulate(guest: SimulatedGuest, datapath?: ModelState): Exchange {
  const decision = decide(parseTables(guest.routes.join("\n")), SERVICE.address);
  if (decision?.nextHop === undefined)
    throw new Error(
      `the routing table of the ${guest.system} guest leads nowhere: ${decision?.reason ?? "not understood"}`,
    );
  const link = openLink(guest, datapath);
  const mac = resolve(guest, decision.nextHop, link);
  const answer = mac === undefined ? undefined : fetch(guest, mac, link);
  const neighbour: SimulatedNeighbour =
    mac === undefined
      ? { address: decision.nextHop, state: "failed" }
      : { address: decision.nextHop, mac, state: "reachable" };
  return { guest, decision, frames: link.frames, neighbours: [neighbour], answer };
}

/** A guest's link to the host. */
interface Link {
  frames: SimulatedFrame[];
  /** Sends a frame of the guest; gives what comes back to it, if anything does. */
  send(frame: Uint8Array): Network | undefined;
  /** Lets time pass, in seconds. */
  wait(seconds: number): void;
}

function openLink(guest: SimulatedGuest, datapath: ModelState | undefined): Link {
  const frames: SimulatedFrame[] = [];
  let at = 0;

  function note(from: SimulatedFrame["from"], frame: Uint8Array, outcome: string): void {
    frames.push({ at, from, frame, outcome });
    at += FRAME_TIME;
  }

  /** What the host itself does with a frame that comes out of a vif: it has the gateway's address, and no other. */
  function toHost(frame: Uint8Array, outcome: (fate: string) => string): Uint8Array | undefined {
    const reply = answerForGateway(guest, frame);
    if (reply === undefined) {
      const isArp = networkOf(frame)?.kind === "arp";
      note("guest", frame, outcome(isArp ? "nobody answers" : "nothing on the host has this address"));
      return undefined;
    }
    note("guest", frame, outcome("the host answers"));
    note("host", reply, "the guest takes it");
    return reply;
  }

  /** A frame through the datapath, and on to the backend where it goes there. */
  function throughOnlink(state: ModelState, frame: Uint8Array): Uint8Array | undefined {
    const result = run(state, { side: "vif", ifindex: guest.ifindex, frame });
    if (result.verdict.kind === "untouched")
      return toHost(frame, (fate) => `onlink: ${result.outcome}; ${fate}`);
    note("guest", frame, `onlink: ${result.outcome}`);
    if (result.verdict.kind === "drop") return undefined;
    if (result.verdict.to.kind === "vif") return result.verdict.frame;
    const reply = answerOfBackend(result.verdict.frame);
    if (reply === undefined) return undefined;
    const returned = run(state, { side: "host", ifindex: ONLINK0_IFINDEX, frame: reply });
    note("host", reply, `onlink: ${returned.outcome}`);
    return returned.verdict.kind === "send" ? returned.verdict.frame : undefined;
  }

  function run(state: ModelState, input: Omit<StepInput, "now">) {
    const whole = { ...input, now: BigInt(Math.round(at * 1e9)) };
    const result = step(state, whole);
    // The sentence names the frame first; that is shown apart.
    const [, ...outcome] = describeVerdict(whole, result).split(": ");
    return { verdict: result.verdict, outcome: outcome.join(": ") };
  }

  return {
    frames,
    send(frame) {
      const back = datapath === undefined ? toHost(frame, String) : throughOnlink(datapath, frame);
      return back === undefined ? undefined : networkOf(back);
    },
    wait(seconds) {
      at = Math.floor(at) + seconds;
    },
  };
}

/** Asks by ARP until somebody answers, or up to `TRIES` times. */
function resolve(guest: SimulatedGuest, nextHop: string, link: Link): string | undefined {
  const request = arpRequest({ senderMac: guest.mac, senderAddress: guest.address, targetAddress: nextHop });
  for (let tries = 0; tries < TRIES; tries++) {
    const back = link.send(request);
    if (back?.kind === "arp" && back.operation === ARP_OPERATION.reply && back.senderAddress === nextHop)
      return back.senderMac;
    link.wait(RETRY_AFTER);
  }
  return undefined;
}

/** A TCP connection as short as it can be: SYN, then the request with the ACK, then the answer. */
function fetch(guest: SimulatedGuest, mac: string, link: Link): Exchange["answer"] {
  const common = {
    sourceMac: guest.mac,
    destinationMac: mac,
    source: guest.address,
    destination: SERVICE.address,
    sourcePort: CLIENT_PORT,
    destinationPort: SERVICE.port,
  };
  const syn = tcpFrame({ ...common, flags: TCP_FLAG.syn, tcp: { sequence: CLIENT_SEQUENCE } });
  let synAck: TcpSegment | undefined;
  for (let tries = 0; tries < TRIES && synAck === undefined; tries++) {
    synAck = tcpFromService(link.send(syn));
    if (synAck === undefined) link.wait(RETRY_AFTER);
  }
  if (synAck?.flags !== (TCP_FLAG.syn | TCP_FLAG.ack) || synAck.acknowledgement !== CLIENT_SEQUENCE + 1)
    return undefined;
  const request = tcpFrame({
    ...common,
    flags: TCP_FLAG.psh | TCP_FLAG.ack,
    tcp: { sequence: CLIENT_SEQUENCE + 1, acknowledgement: synAck.sequence + 1 },
    data: new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: ${SERVICE.address}\r\n\r\n`),
  });
  const segment = tcpFromService(link.send(request));
  const text = new TextDecoder().decode(segment?.data);
  const [, status, seenFrom] = /^HTTP\/1\.1 (\d+) .*\r\n\r\n(\S+)\n$/s.exec(text) ?? [];
  return status === undefined || seenFrom === undefined ? undefined : { status: Number(status), seenFrom };
}

/** The segment, where a packet is TCP from the service to the guest's port. */
function tcpFromService(network: Network | undefined): TcpSegment | undefined {
  if (network?.kind !== "ipv4" || network.source !== SERVICE.address || network.transport.kind !== "tcp")
    return undefined;
  const { transport } = network;
  return transport.sourcePort === SERVICE.port && transport.destinationPort === CLIENT_PORT
    ? transport
    : undefined;
}

/** The host's answer on a vif: to ARP for the gateway's address, and to nothing else. */
function answerForGateway(guest: SimulatedGuest, frame: Uint8Array): Uint8Array | undefined {
  const arp = networkOf(frame);
  if (arp?.kind !== "arp" || arp.operation !== ARP_OPERATION.request || arp.targetAddress !== guest.gateway)
    return undefined;
  return arpReply({
    senderMac: HOST_MAC,
    senderAddress: guest.gateway,
    targetMac: arp.senderMac,
    targetAddress: arp.senderAddress,
  });
}

/** The backend behind the host's stack: an HTTP server that answers with the address that it saw. */
function answerOfBackend(frame: Uint8Array): Uint8Array | undefined {
  const ip = networkOf(frame);
  if (ip?.kind !== "ipv4" || ip.transport.kind !== "tcp") return undefined;
  const { transport } = ip;
  if (ip.destination !== BACKEND.address || transport.destinationPort !== BACKEND.port) return undefined;
  const common = {
    sourceMac: ONLINK0_MAC,
    destinationMac: GATEWAY_MAC,
    source: ip.destination,
    destination: ip.source,
    sourcePort: transport.destinationPort,
    destinationPort: transport.sourcePort,
  };
  if (transport.flags === TCP_FLAG.syn) {
    const tcp = { sequence: SERVER_SEQUENCE, acknowledgement: transport.sequence + 1 };
    return tcpFrame({ ...common, flags: TCP_FLAG.syn | TCP_FLAG.ack, tcp });
  }
  if (transport.data.length === 0) return undefined;
  const body = `${ip.source}\n`;
  return tcpFrame({
    ...common,
    flags: TCP_FLAG.psh | TCP_FLAG.ack,
    tcp: { sequence: SERVER_SEQUENCE + 1, acknowledgement: transport.sequence + transport.data.length },
    data: new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
  });
}

/** What a frame carries; undefined where something about it is wrong, checksums included: a stack would drop it. */
function networkOf(bytes: Uint8Array): Network | undefined {
  const frame = parseFrame(bytes);
  return frame.ok && frameErrors(bytes).length === 0 ? frame.value.network : undefined;
}
