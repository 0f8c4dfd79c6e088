/** A capture run through the model: what the datapath would do with each frame. Pure: no I/O, nothing of Linux. */
import { desiredVif } from "../agent/interfaces.ts";
import { createMetadataAddresses } from "../agent/metadata-addresses.ts";
import type { Config, InterfaceRule } from "../config/schema.ts";
import { TIMEOUTS } from "../config/timeouts.ts";
import { describeVerdict } from "../model/describe.ts";
import { REASONS, type Reason } from "../model/reasons.ts";
import {
  flowKey,
  type ModelFlow,
  type ModelState,
  NS_PER_S,
  newState,
  setService,
  setVif,
} from "../model/state.ts";
import { type StepResult, step, sweep } from "../model/step.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { describeFrame } from "../packet/describe.ts";
import { ETHER_TYPE } from "../packet/ethernet.ts";
import { encodeFrame, type Frame, type Ipv4Network, parseFrame } from "../packet/frame.ts";
import { type CapturedPacket, LINK_TYPE_ETHERNET } from "../packet/pcap.ts";

/** A packet of the capture, and what the datapath would do with it. */
export interface ReplayedPacket {
  /** Position in the file, from 1. */
  number: number;
  /** Nanoseconds since the first packet that has a time; undefined for one that has none. */
  time: bigint | undefined;
  /** Bytes on the wire, and how many of them the capture has. */
  length: number;
  captured: number;
  /** The frame in the manner of tcpdump. */
  frame: string;
  /**
   * Who sent it. Only a guest's frames get a verdict; `service`: the datapath or whatever else answers for the service addresses; `none`: it is
   * no Ethernet frame.
   */
  from: "guest" | "service" | "none";
  /** Of a guest's frames. */
  verdict?: StepResult["verdict"]["kind"];
  /** What it would be counted under. */
  reason?: Reason;
  /** Row of the datapath table. */
  row?: string;
  /** What becomes of it, for people. */
  sentence: string;
  /** Flows that it would open. */
  flowsOpened: number;
}

/** The one vif of a replay. */
const VIF = 1;

/** Stands for onlink0's, which is not known here. */
const HOST_MAC = "02:00:00:00:00:01";

/** Stands for the address of a backend by name, which is not looked up here: one for documentation (RFC 5737). */
const NAMED_BACKEND = "192.0.2.1";

/** The longest frame with an IPv4 packet: two VLAN tags, and 65,535 bytes. */
const MAX_FRAME_LENGTH = 14 + 8 + 65_535;

/**
 * A datapath with this configuration and one vif, that of an interface with this rule; without a rule, one of which nothing is known. Every
 * backend is taken to be in use and on this host: nothing else is known without asking the host.
 */
export function replayState(config: Config, rule: InterfaceRule | undefined): ModelState {
  const [min, max] = config.fabric.ports;
  const state = newState({
    hostMac: HOST_MAC,
    gatewayMac: GATEWAY_MAC,
    hostServiceAddress: config.services[0]?.address,
    fabricPorts: { min, max },
    maxFlows: config.limits.flows,
    maxFlowsPerVif: config.limits.flowsPerInterface,
    timeouts: {
      tcpOpening: TIMEOUTS.timeoutTcpSyn,
      tcpEstablished: TIMEOUTS.timeoutTcpEstablished,
      tcpClosing: TIMEOUTS.timeoutTcpClosing,
      udpOpening: TIMEOUTS.timeoutUdp,
      udpEstablished: TIMEOUTS.timeoutUdpAnswered,
      icmp: TIMEOUTS.timeoutIcmp,
    },
  });
  let id = 0;
  for (const { address, port, protocol, backends, responseHopLimit, whenNoBackend } of config.services) {
    for (const each of protocol) {
      setService(
        state,
        { address, port, protocol: each },
        {
          id: ++id,
          backends: backends.map((backend) => ({
            kind: "host-local",
            address: "name" in backend ? NAMED_BACKEND : backend.address,
            port: backend.port,
          })),
          responseHopLimit,
          whenNoBackend,
        },
      );
    }
  }
  // The first interface of an agent without a past gets this one.
  const metadataAddress = createMetadataAddresses(config.agent.metadataAddresses, []).assign("")!;
  const { mac, gateway, ...vif } = desiredVif(rule ?? {}, config.defaults, metadataAddress);
  setVif(state, VIF, {
    ...vif,
    ...(mac !== undefined && { mac }),
    ...(gateway !== undefined && { gateway }),
  });
  return state;
}

/**
 * Runs the packets through the datapath, in their order. Changes `state`. Each frame is taken to come from the guest, unless it comes from
 * the gateway MAC or a service address: such a frame is an answer, and if it belongs to a flow, the flow goes on with it.
 */
export function* replay(state: ModelState, packets: Iterable<CapturedPacket>): Generator<ReplayedPacket> {
  let number = 0;
  let start: bigint | undefined;
  // The model's clock: time in a capture can go back, the datapath's cannot.
  let now = 0n;
  let swept = 0n;
  for (const { timestamp, linkType, bytes, originalLength } of packets) {
    start ??= timestamp;
    const time = timestamp === undefined || start === undefined ? undefined : timestamp - start;
    if (time !== undefined && time > now) now = time;
    if (now - swept >= NS_PER_S) {
      sweep(state, now);
      swept = now;
    }
    const common = { number: ++number, time, length: originalLength, captured: bytes.length };
    if (linkType !== LINK_TYPE_ETHERNET) {
      const frame = `packet of link type ${linkType}, length ${originalLength}`;
      const sentence = "not an Ethernet frame: capture on the guest's interface, not on all of them";
      yield { ...common, frame, from: "none", sentence, flowsOpened: 0 };
    } else {
      yield {
        ...common,
        frame: describeFrame(bytes),
        ...replayFrame(state, whole(bytes, originalLength), now),
      };
    }
  }
}

/** The frame as long as it was on the wire: what a snap length cut off is data as a rule, and does not matter. */
function whole(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length || length > MAX_FRAME_LENGTH) return bytes;
  const frame = new Uint8Array(length);
  frame.set(bytes);
  return frame;
}

function replayFrame(
  state: ModelState,
  bytes: Uint8Array,
  now: bigint,
): Pick<ReplayedPacket, "from" | "verdict" | "reason" | "row" | "sentence" | "flowsOpened"> {
  const parsed = parseFrame(bytes);
  if (parsed.ok && isFromService(state, parsed.value)) {
    const answered = answerFlow(state, parsed.value, now);
    const sentence = `not from the guest${answered ? ": answers a flow" : ""}`;
    return { from: "service", sentence, flowsOpened: 0 };
  }
  const input = { side: "vif", ifindex: VIF, frame: bytes, now } as const;
  const result = step(state, input);
  const { reason } = result;
  const isOtherIpv4 = reason === undefined && parsed.ok && parsed.value.etherType === ETHER_TYPE.ipv4;
  const row = reason === undefined ? (isOtherIpv4 ? "I1" : undefined) : REASONS[reason].row;
  return {
    from: "guest",
    verdict: result.verdict.kind,
    ...(reason !== undefined && { reason }),
    ...(row !== undefined && { row }),
    // The sentence is "WHAT: left alone", "WHAT: answered with ..." and the like.
    sentence: describeVerdict(input, result).replace(": ", ": would be "),
    flowsOpened: result.events.filter(({ kind }) => kind === "flow-opened").length,
  };
}

/** A claim by ARP is not an answer: row A3 is about those. */
function isFromService(state: ModelState, { source, network }: Frame): boolean {
  return (
    source === state.settings.gatewayMac ||
    (network.kind === "ipv4" && state.serviceAddresses.has(network.source))
  );
}

/** Lets the flow go on to which the frame belongs, as if the backend had sent it; false when there is none. */
function answerFlow(state: ModelState, frame: Frame, now: bigint): boolean {
  const { network } = frame;
  if (network.kind !== "ipv4") return false;
  const { transport } = network;
  if (transport.kind !== "tcp" && transport.kind !== "udp") return false;
  const flow = state.flows.get(
    flowKey({
      vif: VIF,
      protocol: transport.kind,
      guest: network.destination,
      guestPort: transport.destinationPort,
      service: network.source,
      servicePort: transport.sourcePort,
    }),
  );
  if (flow === undefined) return false;
  const bytes = encodeFrame({ ...frame, network: asBackendSentIt(network, transport, flow) });
  return step(state, { side: "host", ifindex: VIF, frame: bytes, now }).reason === "returned";
}

/** The answer before the datapath translated it. Its checksums are those of after, which the model does not look at. */
function asBackendSentIt(
  network: Ipv4Network,
  transport: Extract<Ipv4Network["transport"], { kind: "tcp" | "udp" }>,
  flow: ModelFlow,
): Ipv4Network {
  return {
    ...network,
    source: flow.backend,
    destination: flow.nat,
    transport: { ...transport, sourcePort: flow.backendPort, destinationPort: flow.natPort },
  };
}
