/**
 * What the responder says to a frame: the rows A1 to A4, and I3 where asked, of the datapath table, as the model decides them. No I/O.
 * Everything else in the table is the business of whoever gets the guest's packets then, and is not answered here.
 */
import type { Reason } from "../model/reasons.ts";
import { type ModelState, newState, setVif } from "../model/state.ts";
import { step } from "../model/step.ts";
import { arpSender } from "../packet/arp.ts";
import { ETHERNET_HEADER_LENGTH } from "../packet/ethernet.ts";
import { parseFrame } from "../packet/frame.ts";
import type { Elsewhere } from "./standing.ts";

/** What is answered on an interface. */
export interface AnswerSettings {
  /** The MAC that answers: that of whoever is to get the guest's packets. */
  mac: string;
  /** Service addresses. */
  addresses: readonly string[];
  /** Row A4: the gateway address to answer for. */
  gateway?: string;
  /** Row I3. */
  echo: boolean;
  /** Rows A1 and A2 (RFC 3927 s. 2.5). */
  arpReply: "unicast" | "broadcast";
}

/** What an answer is about: others may answer for one address and not for another, and ARP but not echo. */
export type Subject = `${"arp" | "echo"} ${string}`;

/** A frame that concerns the responder. */
export interface Asked {
  subject: Subject;
  address: string;
  /** The row of the table: its counter's name. */
  reason: AnsweredReason;
  /** Who asks, or claims the address: the sender's MAC in the packet, and its address. */
  asker: { mac: string; address: string };
  /** To be sent; undefined for a claim that was met shortly before (DEFEND_INTERVAL). */
  reply: Uint8Array | undefined;
}

const ANSWERED = ["arp-reply", "arp-probe-reply", "arp-conflict", "arp-gateway", "echo-reply"] as const;
type AnsweredReason = (typeof ANSWERED)[number];

/** The model's number for the one interface that it is given here. */
const VIF = 1;

/** A datapath that has the service addresses and no services. */
export function answerState({ mac, addresses, gateway, arpReply }: AnswerSettings): ModelState {
  const state = newState({
    hostMac: mac,
    gatewayMac: mac,
    hostServiceAddress: undefined,
    fabricPorts: { min: 0, max: 0 },
    maxFlows: 0,
    maxFlowsPerVif: 0,
    timeouts: {
      tcpOpening: 0,
      tcpEstablished: 0,
      tcpClosing: 0,
      udpOpening: 0,
      udpEstablished: 0,
      icmp: 0,
    },
  });
  for (const address of addresses) state.serviceAddresses.add(address);
  setVif(state, VIF, {
    metadataAddress: "",
    addresses: [],
    antiSpoof: false,
    unknownPort: "drop",
    arpReply,
    ...(gateway !== undefined && { gateway }),
  });
  return state;
}

/** Takes a frame through the model; undefined where it is none of the responder's business. `now` in ns, of a clock that only goes forward. */
export function ask(
  state: ModelState,
  { echo }: Pick<AnswerSettings, "echo">,
  frame: Uint8Array,
  now: bigint,
): Asked | undefined {
  const { verdict, reason } = step(state, { side: "vif", ifindex: VIF, frame, now });
  if (!isAnswered(reason)) return undefined;
  const reply = verdict.kind === "send" ? verdict.frame : undefined;
  if (reason === "echo-reply") {
    const request = parseFrame(frame);
    if (!echo || reply === undefined || !request.ok || request.value.network.kind !== "ipv4")
      return undefined;
    const { source, network } = request.value;
    const asker = { mac: source, address: network.source };
    return { subject: `echo ${network.destination}`, address: network.destination, reason, asker, reply };
  }
  const asker = arpSender(frame.subarray(ETHERNET_HEADER_LENGTH));
  // The reply's sender is what was asked for; a claim's is the address itself.
  const { address } = arpSender((reply ?? frame).subarray(ETHERNET_HEADER_LENGTH));
  return { subject: `arp ${address}`, address, reason, asker, reply };
}

function isAnswered(reason: Reason | undefined): reason is AnsweredReason {
  return (ANSWERED as readonly (Reason | undefined)[]).includes(reason);
}

/** Somebody else's answer, in a frame that passed `elsewhereFilter`; undefined for a frame that is none. */
export function readElsewhere(frame: Uint8Array): Elsewhere | undefined {
  const parsed = parseFrame(frame);
  if (!parsed.ok) return undefined;
  const { source, network } = parsed.value;
  if (network.kind === "arp")
    return {
      subject: `arp ${network.senderAddress}`,
      address: network.senderAddress,
      mac: network.senderMac,
    };
  if (network.kind === "ipv4")
    return { subject: `echo ${network.source}`, address: network.source, mac: source };
  return undefined;
}

/** The frames that `ask` may answer, for pcap-filter(7). Own frames are those from the MAC that answers. */
export function askFilter({ mac, addresses, gateway, echo }: AnswerSettings): string {
  const any = addresses.join(" or ");
  const terms = [`(arp and host (${any}))`];
  if (gateway !== undefined) terms.push(`(arp and dst host ${gateway})`);
  // Later fragments of a request as well, which have no ICMP header.
  if (echo) terms.push(`(icmp and dst host (${any}))`);
  return `not ether src ${mac} and (${terms.join(" or ")})`;
}

/**
 * The frames that `readElsewhere` is for, among those that this host sends: ARP replies, announcements (RFC 5227 s. 1.1) and echo replies. An ARP
 * request from a service address is no answer: where the host has the address itself, its kernel asks for guests with it.
 */
export function elsewhereFilter({ addresses, gateway, echo }: AnswerSettings): string {
  const any = [...addresses, ...(gateway === undefined ? [] : [gateway])].join(" or ");
  const terms = [`(arp and src host (${any}) and (arp[6:2] = 2 or arp[14:4] = arp[24:4]))`];
  if (echo) terms.push(`(icmp[icmptype] = icmp-echoreply and src host (${any}))`);
  return terms.join(" or ");
}
