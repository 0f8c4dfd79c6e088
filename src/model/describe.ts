/** Verdicts as sentences, for people. */
import { UNSPECIFIED_ADDRESS } from "../packet/address.ts";
import { ARP_OPERATION, type ArpPacket } from "../packet/arp.ts";
import { ETHER_TYPE } from "../packet/ethernet.ts";
import { type Frame, type Ipv4Network, parseFrame } from "../packet/frame.ts";
import { ICMP_TYPE, type IcmpMessage, UNREACHABLE_CODE } from "../packet/icmp.ts";
import { REASONS } from "./reasons.ts";
import type { Target } from "./state.ts";
import type { StepInput, StepResult } from "./step.ts";

/**
 * What became of a frame, in one line without a full stop, with the row of the datapath table:
 * "ARP request for 169.254.169.254: answered with 00:00:5e:00:01:00 (A1)".
 */
export function describeVerdict(input: StepInput, result: StepResult): string {
  const { verdict, reason } = result;
  const text = reason === undefined ? undefined : REASONS[reason];
  const row = text?.row ?? (isOtherIpv4(input) ? "I1" : undefined);
  const why = text === undefined ? uncountedBecause(input) : text.sentence;
  const served = verdict.kind === "send" && text?.outcome === "served";
  return `${describe(input.frame)}: ${describeAction(input, verdict)}${served ? "" : `, ${why}`}${row === undefined ? "" : ` (${row})`}`;
}

function describeAction({ side }: StepInput, verdict: StepResult["verdict"]): string {
  if (verdict.kind === "untouched") return "left alone";
  if (verdict.kind === "drop") return "dropped";
  if (side === "vif" && verdict.to.kind === "vif") return `answered with ${describeAnswer(verdict.frame)}`;
  return `sent to ${describeTarget(verdict.to)} as ${describe(verdict.frame)}`;
}

function describeTarget(to: Target): string {
  return to.kind === "host" ? "the host" : `${to.kind === "vif" ? "vif" : "fabric interface"} ${to.ifindex}`;
}

/** Why a frame is not counted: it was none of the datapath's business. */
function uncountedBecause(input: StepInput): string {
  if (input.side === "host") return "not right IPv4";
  if (input.side === "fabric") return "not of a flow";
  return isOtherIpv4(input) ? "not for a service address" : "neither ARP nor IPv4 of a vif";
}

function isOtherIpv4({ side, frame }: StepInput): boolean {
  const parsed = parseFrame(frame);
  return side === "vif" && parsed.ok && parsed.value.etherType === ETHER_TYPE.ipv4;
}

function describe(bytes: Uint8Array): string {
  const frame = parseFrame(bytes);
  if (!frame.ok) return `frame of ${bytes.length} bytes`;
  const { vlanTags, etherType, network } = frame.value;
  const [tag] = vlanTags;
  if (tag !== undefined) return `frame of VLAN ${tag.id}`;
  if (network.kind === "arp") return describeArp(network);
  if (network.kind === "ipv4") return describeIpv4(network);
  return describeOther(etherType);
}

function describeOther(etherType: Frame["etherType"]): string {
  if (etherType === ETHER_TYPE.arp) return "ARP that is cut short or not for IPv4 over Ethernet";
  if (etherType === ETHER_TYPE.ipv4) return "IPv4 with a wrong header";
  if (etherType === ETHER_TYPE.ipv6) return "IPv6";
  return `frame of EtherType 0x${etherType.toString(16).padStart(4, "0")}`;
}

function describeArp({ operation, senderMac, senderAddress, targetAddress }: ArpPacket): string {
  if (operation === ARP_OPERATION.reply) return `ARP reply that ${senderAddress} is at ${senderMac}`;
  if (operation !== ARP_OPERATION.request) return `ARP operation ${operation}`;
  if (senderAddress === UNSPECIFIED_ADDRESS) return `ARP probe for ${targetAddress}`;
  if (senderAddress === targetAddress) return `ARP announcement of ${senderAddress} at ${senderMac}`;
  return `ARP request for ${targetAddress}`;
}

function describeIpv4({ source, destination, protocol, transport }: Ipv4Network): string {
  switch (transport.kind) {
    case "tcp":
    case "udp":
      return `${transport.kind.toUpperCase()} ${source}:${transport.sourcePort} > ${destination}:${transport.destinationPort}`;
    case "icmp":
      return `${describeIcmp(transport.message)} ${source} > ${destination}`;
    case "fragment":
      return `later fragment ${source} > ${destination}`;
    case "malformed":
      return `${transport.error.layer.toUpperCase()} with a wrong header ${source} > ${destination}`;
    case "other":
      return `IP protocol ${protocol} ${source} > ${destination}`;
  }
}

function describeIcmp(message: IcmpMessage): string {
  if (message.kind === "echo")
    return message.type === ICMP_TYPE.echoRequest ? "ICMP echo request" : "ICMP echo reply";
  return message.kind === "error" ? "ICMP error" : `ICMP type ${message.type}`;
}

/** What an answer to the guest says, in a few words. */
function describeAnswer(bytes: Uint8Array): string {
  const frame = parseFrame(bytes);
  const network = frame.ok ? frame.value.network : undefined;
  if (network?.kind === "arp")
    return network.operation === ARP_OPERATION.reply ? network.senderMac : `an ${describeArp(network)}`;
  const transport = network?.kind === "ipv4" ? network.transport : undefined;
  if (transport?.kind === "tcp") return "a RST";
  if (transport?.kind !== "icmp" || transport.message.kind !== "error") return "an echo reply";
  return transport.message.code === UNREACHABLE_CODE.port
    ? "ICMP port unreachable"
    : "ICMP protocol unreachable";
}
