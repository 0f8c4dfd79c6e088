/** A guest's tables in; which way a packet to a service address goes, whether anybody answers, and the mend, out. */
import { GATEWAY_MAC, isInPrefix, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { completeRef, type Decision, decide, defaultGateway, mayBeSame, nameOf } from "./decide.ts";
import {
  addDefaultRoute,
  askAgain,
  gatewayDoesNotAnswer,
  hostRoute,
  type Mend,
  onlinkOnVif,
  removeOwnAddress,
  renewAddress,
  replaceRoute,
} from "./mend.ts";
import type { Format, Neighbour, NeighbourState, System, Tables } from "./types.ts";

/** The address that is explained unless another is asked for: where EC2 and OpenStack have the metadata service. */
export const DEFAULT_DESTINATION = "169.254.169.254";

/** What the tables mean for one service address. */
export interface Explanation {
  system?: System;
  decision: Decision;
  /** The neighbour table's row for the next hop. */
  neighbour?: Neighbour;
  /** Whether the paste has a neighbour table at all; without one the routes alone decide. */
  hasNeighbourTable: boolean;
  /** As far as the guest can know: what a gateway does with the packet its guests cannot tell. */
  reachable: boolean;
  /** The verdict, one sentence. */
  sentence: string;
  /** What to do, the best first; empty when it is reachable. */
  mends: Mend[];
}

/** An explanation, or why there is none: one sentence that names the mend. */
export type Explained = { ok: true; explanation: Explanation } | { ok: false; error: string };

/** Outputs that list neighbours. */
const NEIGHBOUR_FORMATS: ReadonlySet<Format> = new Set([
  "windows-arp-a",
  "netsh-neighbors",
  "get-net-neighbor",
  "ip-neigh",
  "arp-n",
  "bsd-arp-a",
]);

/**
 * Explains what a guest does with packets to `to`, a link-local address.
 *
 * @example
 * const tables = parseTables(`
 *   0.0.0.0          0.0.0.0         10.0.0.1        10.0.0.10    271
 *   10.0.0.0    255.255.255.0         On-link         10.0.0.10    271
 *   169.254.169.254                               00-00-00-00-00-00  Unreachable
 * `);
 * const explained = explain(tables);
 * if (explained.ok) {
 *   explained.explanation.decision.rule; // "rfc3927"
 *   explained.explanation.reachable; // false
 * }
 */
export function explain(tables: Tables, to: string = DEFAULT_DESTINATION): Explained {
  if (!isLinkLocal(to)) {
    return {
      ok: false,
      error: `${to} is not an address in ${LINK_LOCAL_PREFIX}; give a service address, such as ${DEFAULT_DESTINATION}`,
    };
  }
  if (tables.outputs.length === 0) {
    return {
      ok: false,
      error:
        'no routing or neighbour table in it; paste, say, "route print" and "arp -a", or "ip route" and "ip neigh"',
    };
  }
  if (tables.system === undefined) {
    return {
      ok: false,
      error: "the tables are of more than one system; explain one guest at a time",
    };
  }
  const decision = decide(tables, to);
  if (decision === undefined) {
    return {
      ok: false,
      error: `no routing table in it; paste the output of ${ROUTE_COMMAND[tables.system]} too`,
    };
  }
  const neighbour = neighbourFor(tables, decision);
  return {
    ok: true,
    explanation: {
      system: tables.system,
      decision,
      ...(neighbour === undefined ? {} : { neighbour }),
      hasNeighbourTable: hasNeighbourTable(tables),
      ...verdict(tables, decision, neighbour),
    },
  };
}

/** The command that prints a routing table. */
const ROUTE_COMMAND: Record<System, string> = {
  windows: '"route print"',
  linux: '"ip route"',
  macos: '"netstat -rn"',
  bsd: '"netstat -rn"',
};

/** The command that prints the neighbours. */
const NEIGHBOUR_COMMAND: Record<System, string> = {
  windows: '"netsh interface ipv4 show neighbors"',
  linux: '"ip neigh"',
  macos: '"arp -an"',
  bsd: '"arp -an"',
};

function isLinkLocal(to: string): boolean {
  try {
    return isInPrefix(to, LINK_LOCAL_PREFIX);
  } catch {
    return false;
  }
}

/** netstat of macOS and BSD may list neighbours among the routes: then that is the neighbour table. */
function hasNeighbourTable(tables: Tables): boolean {
  return tables.neighbours.length > 0 || tables.outputs.some(({ format }) => NEIGHBOUR_FORMATS.has(format));
}

/** The row for the next hop; the same address may stand in the tables of several interfaces. */
function neighbourFor(tables: Tables, decision: Decision): Neighbour | undefined {
  const via = completeRef(tables, decision.via);
  const rows = tables.neighbours.filter(
    (of) => of.address === decision.nextHop && mayBeSame(completeRef(tables, of), via),
  );
  // Two commands may have listed it, of which one (`arp -a`) does not tell the state.
  return rows.find(({ state }) => state !== undefined) ?? rows[0];
}

type Verdict = Pick<Explanation, "reachable" | "sentence" | "mends">;

function verdict(tables: Tables, decision: Decision, neighbour: Neighbour | undefined): Verdict {
  if (decision.way === "nowhere") return nowhere(tables, decision);
  return decision.way === "gateway"
    ? throughGateway(tables, decision, neighbour)
    : onLink(tables, decision, neighbour);
}

function nowhere(tables: Tables, decision: Decision): Verdict {
  const { destination, reason, rule, via } = decision;
  const sentence = `${destination}: ${reason}: not reachable.`;
  const mends = {
    "no-address": () => renewAddress(tables.system, via),
    "no-route": () => addDefaultRoute(tables.system),
    "own-address": () => removeOwnAddress(tables, decision),
    "refusing-route": () => replaceRoute(tables, decision),
  };
  return { reachable: false, sentence, mends: [mends[rule as keyof typeof mends]()] };
}

function throughGateway(tables: Tables, decision: Decision, neighbour: Neighbour | undefined): Verdict {
  const { destination, nextHop, connected } = decision;
  const { system } = tables;
  const way = `${destination} goes through ${nextHop} on ${nameOf(decision.via)}`;
  if (neighbour?.mac !== undefined) {
    return reachable(
      `${way}, whose MAC ${neighbour.mac} is known${sureness(neighbour.state, system)}: reachable.`,
    );
  }
  if (connected === false) {
    return {
      reachable: false,
      sentence: `${way}, but ${nextHop} is on no network that the guest is connected to: not reachable. Such a route is often one that was saved in an image made in another subnet.`,
      mends: [replaceRoute(tables, decision)],
    };
  }
  if (neighbour !== undefined) {
    return {
      reachable: false,
      sentence: `${way}, which does not answer ARP${inItsWords(neighbour.state, system)}: not reachable.`,
      mends: gatewayDoesNotAnswer(system, decision),
    };
  }
  return reachable(
    hasNeighbourTable(tables)
      ? `${way}; the guest has not asked for that MAC lately, which it does by itself when it sends: reachable by its routes.`
      : `${way}: reachable by its routes alone; there is no neighbour table in it, so whether ${nextHop} answers is not known.`,
  );
}

function onLink(tables: Tables, decision: Decision, neighbour: Neighbour | undefined): Verdict {
  const { destination, via } = decision;
  const { system } = tables;
  const way = `${destination} is on-link on ${nameOf(via)}`;
  const turnOn = onlinkOnVif(tables, decision);
  const isApipa = decision.source !== undefined && isLinkLocal(decision.source);
  const otherwise = isApipa ? renewAddress(system, via) : hostRoute(tables, decision);
  const advice = isApipa
    ? "Turn on onlink on its vif, or give it an address by DHCP"
    : "Turn on onlink on its vif, or add this route";
  const not = (sentence: string, ...mends: Mend[]): Verdict => ({ reachable: false, sentence, mends });

  if (neighbour?.mac !== undefined) {
    const gateway = defaultGateway(tables)?.gateway;
    const gatewayMac = tables.neighbours.find(({ address }) => address === gateway)?.mac;
    const sure = sureness(neighbour.state, system);
    if (neighbour.mac === GATEWAY_MAC)
      return reachable(`${way}, and onlink's gateway MAC ${neighbour.mac} answers${sure}: reachable.`);
    if (neighbour.mac === gatewayMac) {
      return reachable(
        `${way}, and the gateway ${gateway} answers for it with its own MAC ${neighbour.mac}${sure}: reachable.`,
      );
    }
    return not(
      `${way}, and somebody else answers: ${neighbour.mac} is neither the gateway MAC ${GATEWAY_MAC} nor that of the guest's gateway: not the service.`,
      {
        what: `Find who has ${neighbour.mac}: another guest that took the address, or another responder. onlink on the vifs keeps guests from claiming it; then let this guest ask again.`,
        commands: askAgain(system, destination, via),
      },
      turnOn,
    );
  }
  if (neighbour?.state === "incomplete") {
    return not(
      `${way}: the guest asks by ARP, and nobody has answered yet${inItsWords(neighbour.state, system)}: not reachable so far. ${advice}.`,
      turnOn,
      otherwise,
    );
  }
  if (neighbour !== undefined) {
    return not(
      `${way}: the guest asks by ARP, and nobody answered${inItsWords(neighbour.state, system)}: not reachable. ${advice}.`,
      turnOn,
      otherwise,
    );
  }
  if (hasNeighbourTable(tables)) {
    return not(
      `${way}: the guest asks by ARP, but has not lately, so whether anybody answers is not known: taken as not reachable. Ask, then paste ${NEIGHBOUR_COMMAND[system!]} again.`,
      { what: "Let the guest ask.", commands: askAgain(system, destination, via).slice(-1) },
      turnOn,
      otherwise,
    );
  }
  return not(
    `${way}: the guest asks by ARP, and nobody but onlink would answer; there is no neighbour table in it, so by its routes alone not reachable. ${advice}; ${NEIGHBOUR_COMMAND[system!]} shows whether somebody answers already.`,
    turnOn,
    otherwise,
  );
}

function reachable(sentence: string): Verdict {
  return { reachable: true, sentence, mends: [] };
}

/** The states in the words of each system's own commands. */
function inItsWords(state: NeighbourState | undefined, system: System | undefined): string {
  if (state === undefined) return "";
  if (system === "linux") return ` (${state.toUpperCase()})`;
  if (system === "windows") {
    const word = state === "failed" ? "unreachable" : state;
    return ` (${word[0]!.toUpperCase()}${word.slice(1)})`;
  }
  return ` (${state})`;
}

/** How sure a known MAC is, where the state says that it is not quite. */
function sureness(state: NeighbourState | undefined, system: System | undefined): string {
  const word = inItsWords(state, system);
  if (state === "stale") return `${word.slice(0, -1)}: not confirmed lately, and asked for again when used)`;
  if (state === "delay" || state === "probe") return `${word.slice(0, -1)}: being confirmed just now)`;
  return word;
}
