import type { Datapath, VifEvidence } from "../datapath/types.ts";
import { DEFAULT_DESTINATION } from "../endpoint/explain.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import type { GuestStats } from "../metadata/stats.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { secondsBetween } from "./clock.ts";
import type { AgentEvent } from "./event.ts";
import type { GuestIdentity } from "./guest-identity.ts";
import type { Interfaces } from "./interfaces.ts";
import type { ServiceState } from "./status.ts";
import { diagnose, type WhyFacts, type WhyLink, wantedServices } from "./why.ts";

/** What an operator asks. */
export interface WhyQuestion {
  /** The guest: name of its vif, instance id, one of its addresses or its metadata address, or its MAC. */
  guest: string;
  /** The service address; 169.254.169.254 unless given. */
  address?: string | undefined;
  port?: number | undefined;
}

/** The answer: whom it is about, and the links of the way. */
export interface WhyAnswer {
  interface: string;
  addresses: string[];
  to: { address: string; port?: number };
  links: WhyLink[];
}

/** The question cannot be answered: no guest is meant, or several are. */
export class WhyError extends Error {
  override readonly name = "WhyError";
  readonly kind: "unknown" | "ambiguous";
  constructor(kind: WhyError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** What the answer is gathered from. */
export interface WhySources {
  interfaces: Pick<Interfaces, "list" | "stateOf" | "guestOf">;
  network: Pick<Rtnetlink, "link" | "links">;
  datapath: Pick<Datapath, "vifs" | "addCounts" | "vifEvidence" | "isAttached" | "flowCount">;
  services: ServiceState[];
  /** The names of the services of kind metadata, and what was answered to guests. */
  metadata: { services: readonly string[]; guests: readonly GuestStats[] };
  recent: readonly AgentEvent[];
  limits: { flows: number; flowsPerInterface: number };
  /** CLOCK_MONOTONIC, ns. */
  now: bigint;
}

/** Answers why a guest does not reach a service. Throws `WhyError`, and `DatapathError` where the kernel does not answer. */
export function answerWhy(question: WhyQuestion, sources: WhySources): WhyAnswer {
  const { address = DEFAULT_DESTINATION, port } = question;
  const to = { address, ...(port !== undefined && { port }) };
  const name = findVif(question.guest, sources);
  const facts = gatherFacts(name, to, sources);
  return { interface: name, addresses: facts.addresses, to, links: diagnose(facts) };
}

/** The name of the vif that is meant. */
function findVif(guest: string, sources: WhySources): string {
  const { interfaces, network } = sources;
  if (interfaces.stateOf(guest) !== undefined || network.link(guest) !== undefined) return guest;
  const found = interfaces.list().flatMap((one) => {
    if (one.state !== "attached") return [];
    const identity = interfaces.guestOf(one.metadataAddress);
    return identity !== undefined && isMeant(guest, identity, sources) ? [one.name] : [];
  });
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    throw new WhyError(
      "ambiguous",
      `${guest} is behind ${found.slice(0, 5).join(", ")}${found.length > 5 ? " and others" : ""}; ask for one of these by its name`,
    );
  }
  throw new WhyError(
    "unknown",
    `no guest ${JSON.stringify(guest)} is known; give the name of its vif (onlink interfaces has all), its instance id, an address or its MAC`,
  );
}

function isMeant(guest: string, identity: GuestIdentity, { datapath }: WhySources): boolean {
  const { instanceId, metadataAddress, addresses, mac, ifindex } = identity;
  const wanted = guest.toLowerCase();
  if ([instanceId, metadataAddress, mac, ...addresses].includes(wanted)) return true;
  // Of a guest whose addresses nobody told us: what it last used itself.
  const sent = datapath.vifEvidence(ifindex)?.sent;
  return sent !== undefined && [sent.guest, sent.guestMac].includes(wanted);
}

function gatherFacts(name: string, to: WhyFacts["to"], sources: WhySources): WhyFacts {
  const { interfaces, network, datapath, services, limits } = sources;
  const state = interfaces.stateOf(name);
  const ifindex = state?.state === "attached" ? state.ifindex : undefined;
  const identity = state?.state === "attached" ? interfaces.guestOf(state.metadataAddress) : undefined;
  datapath.addCounts();
  const evidence = ifindex === undefined ? undefined : datapath.vifEvidence(ifindex);
  return {
    to,
    vif:
      state === undefined
        ? { name, state: "not configured" }
        : state.state === "attached"
          ? {
              ...state,
              present: datapath.isAttached("vif", state.ifindex),
              up: network.link(state.ifindex)?.up === true,
            }
          : state,
    addresses: identity?.addresses ?? [],
    antiSpoof: ifindex === undefined || (datapath.vifs().get(ifindex)?.antiSpoof ?? true),
    services,
    seen: evidence === undefined ? {} : whatWasSeen(evidence, sources.now),
    conflict: lastConflict(to.address, sources.recent),
    hostMacs: new Set([GATEWAY_MAC, ...network.links().flatMap(({ mac }) => mac ?? [])]),
    metadata: lastAnswer(name, to, sources),
    flows: {
      vif: ifindex === undefined ? 0 : datapath.flowCount(ifindex),
      vifLimit: limits.flowsPerInterface,
      system: datapath.flowCount(),
      systemLimit: limits.flows,
    },
  };
}

function whatWasSeen(evidence: VifEvidence, now: bigint): WhyFacts["seen"] {
  const { arpAsked, arpAnswered, sent, spoofed, counted } = evidence;
  const ageOf = (time: bigint) => secondsBetween(time, now);
  const aged = <T extends { time: bigint }>(seen: T | undefined) =>
    seen && { ...seen, age: ageOf(seen.time) };
  const last = (time: bigint | undefined) => (time === undefined ? undefined : { age: ageOf(time) });
  return {
    arpAsked: aged(arpAsked),
    arpAnswered: aged(arpAnswered),
    sent: aged(sent),
    spoofed: aged(spoofed),
    forwarded: last(counted.forwarded),
    returned: last(counted.returned),
    limit: last(counted.limit),
    noBackend: last(counted["no-backend"]),
    noPort: last(counted["no-port"]),
    unknownPort: last(counted["unknown-port"]),
  };
}

function lastAnswer(
  name: string,
  to: WhyFacts["to"],
  { services, metadata }: WhySources,
): WhyFacts["metadata"] {
  const isMetadata = wantedServices({ to, services }).some((one) => metadata.services.includes(one.name));
  const guest = isMetadata ? metadata.guests.find((one) => one.interface === name) : undefined;
  if (guest?.last === undefined) return undefined;
  const { status, at } = guest.last;
  return { status, age: secondsSince(at), identified: guest.instanceId !== undefined };
}

/** `time`: ISO 8601. */
function secondsSince(time: string): number {
  return Math.max(0, (Date.now() - Date.parse(time)) / 1000);
}

function lastConflict(address: string, recent: readonly AgentEvent[]): WhyFacts["conflict"] {
  const event = recent.findLast((one) => one.kind === "conflict" && one.service === address);
  if (event?.kind !== "conflict") return undefined;
  return { age: secondsSince(event.time), interface: event.interface, mac: event.mac };
}
