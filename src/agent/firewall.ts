/**
 * What the host's nftables rules do with a packet: for `onlink check` to notice where they stop the packets of guests to backends on this
 * host. Rules that are not understood count as "perhaps".
 */
import type { Protocol } from "../datapath/types.ts";
import { isInPrefix, parsePrefix } from "../packet/address.ts";

/** A packet that opens a connection to a backend on this host. */
export interface OpeningPacket {
  /** The name of the interface by which it comes in. */
  interface: string;
  protocol: Protocol;
  source: string;
  destination: string;
  port: number;
}

/** What becomes of a packet. With `drop` and `perhaps`: the chain that decides, such as `inet filter input`. */
export type Fate = { fate: "accept" } | { fate: "drop" | "perhaps"; chain: string };

/** The output of `nft -j list ruleset` (libnftables-json(5)), as far as it is looked at. */
export interface Ruleset {
  nftables: ReadonlyArray<{ chain?: Chain; rule?: Rule }>;
}

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  prio?: number;
  policy?: string;
}

interface Rule {
  family: string;
  table: string;
  chain: string;
  expr: readonly Statement[];
}

type Statement = Readonly<Record<string, unknown>>;
/** What a chain may do with the packet; `on`: the next rule, or the chain that it was called from. */
type Outcome = "accept" | "drop" | "on";
/** Undefined: that depends on what is not understood. */
type Truth = boolean | undefined;

/** Chains call one another no deeper than that (NFT_JUMP_STACK_SIZE in the kernel). */
const MAX_DEPTH = 16;

/** Statements that decide nothing. */
const SILENT: ReadonlySet<string> = new Set(["counter", "log", "mangle", "meta", "notrack"]);

/** Follows a packet through all chains of the input hook, in the order of their priorities. */
export function judgeInput({ nftables }: Ruleset, packet: OpeningPacket): Fate {
  const chains = nftables.flatMap(({ chain }) => chain ?? []);
  const rules = new Map<string, Rule[]>();
  for (const { rule } of nftables) {
    if (rule === undefined) continue;
    const key = `${rule.family} ${rule.table} ${rule.chain}`;
    rules.set(key, [...(rules.get(key) ?? []), rule]);
  }
  const known = new Map<string, Set<Outcome>>();
  const bases = chains
    .filter(({ family, hook }) => hook === "input" && (family === "ip" || family === "inet"))
    .sort((a, b) => (a.prio ?? 0) - (b.prio ?? 0));
  let perhaps: string | undefined;
  for (const base of bases) {
    const outcomes = outcomesOf(base, base.name, 0);
    if (outcomes.delete("on")) outcomes.add(base.policy === "drop" ? "drop" : "accept");
    if (!outcomes.has("drop")) continue;
    const chain = `${base.family} ${base.table} ${base.name}`;
    if (!outcomes.has("accept")) return { fate: "drop", chain };
    perhaps ??= chain;
  }
  return perhaps === undefined ? { fate: "accept" } : { fate: "perhaps", chain: perhaps };

  /** Once for each chain: the packet is always the same. */
  function outcomesOf(base: Chain, name: string, depth: number): Set<Outcome> {
    const key = `${base.family} ${base.table} ${name}`;
    const outcomes = known.get(key) ?? walk(base, rules.get(key) ?? [], depth);
    known.set(key, outcomes);
    return new Set(outcomes);
  }

  function walk(base: Chain, own: readonly Rule[], depth: number): Set<Outcome> {
    const outcomes = new Set<Outcome>();
    if (depth > MAX_DEPTH) return new Set(["accept", "drop"]);
    for (const { expr } of own) {
      const { applies, verdict } = readRule(expr);
      if (applies === false) continue;
      const { given, ends } = follow(verdict);
      for (const outcome of given) outcomes.add(outcome);
      if (applies === true && ends) return outcomes;
    }
    return outcomes.add("on");

    /** What a verdict gives, and whether no later rule of this chain is looked at. */
    function follow(verdict: Statement | "unknown" | undefined): { given: Set<Outcome>; ends: boolean } {
      if (verdict === undefined) return { given: new Set(), ends: false };
      if (verdict === "unknown") return { given: new Set(["accept", "drop"]), ends: false };
      const [[kind, detail]] = Object.entries(verdict) as [[string, { target?: string } | null]];
      if (kind === "accept") return { given: new Set(["accept"]), ends: true };
      if (kind === "drop" || kind === "reject") return { given: new Set(["drop"]), ends: true };
      if (kind === "return") return { given: new Set(["on"]), ends: true };
      if (kind === "continue") return { given: new Set(), ends: false };
      if (kind !== "jump" && kind !== "goto") return { given: new Set(["accept", "drop"]), ends: false };
      const given = outcomesOf(base, detail?.target ?? "", depth + 1);
      // After a goto, the end of the chain leads past this one.
      if (kind === "goto") return { given, ends: true };
      return { ends: !given.delete("on"), given };
    }
  }

  /** Whether a rule applies to the packet, and its verdict, if it has one. */
  function readRule(expr: readonly Statement[]): { applies: Truth; verdict?: Statement | "unknown" } {
    let applies: Truth = true;
    for (const statement of expr) {
      const [[kind, detail] = ["", undefined]] = Object.entries(statement);
      if (SILENT.has(kind)) continue;
      if (kind === "match") applies = and(applies, matches(detail as Match, packet));
      else if (VERDICTS.has(kind)) return { applies, verdict: statement };
      else if (kind === "vmap") {
        const { truth, verdict } = lookUp(detail as VerdictMap, packet);
        return verdict === undefined
          ? { applies: and(applies, truth) }
          : { applies: and(applies, truth), verdict };
      } else applies = and(applies, undefined);
      if (applies === false) break;
    }
    return { applies };
  }
}

const VERDICTS: ReadonlySet<string> = new Set([
  "accept",
  "drop",
  "reject",
  "return",
  "continue",
  "jump",
  "goto",
  "queue",
]);

interface Match {
  op: string;
  left: unknown;
  right: unknown;
}

interface VerdictMap {
  key: unknown;
  data: { set?: ReadonlyArray<readonly [unknown, Statement]> } | string;
}

function lookUp(
  { key, data }: VerdictMap,
  packet: OpeningPacket,
): { truth: Truth; verdict?: Statement | "unknown" } {
  const fact = factOf(key, packet);
  if (fact === "absent") return { truth: false };
  if (fact === undefined || typeof data === "string" || data.set === undefined)
    return { truth: undefined, verdict: "unknown" };
  for (const [element, verdict] of data.set) {
    const truth = isOneOf(fact.value, element);
    if (truth === undefined) return { truth, verdict: "unknown" };
    if (truth) return { truth, verdict };
  }
  return { truth: false };
}

function matches({ op, left, right }: Match, packet: OpeningPacket): Truth {
  const fact = factOf(left, packet);
  if (fact === undefined) return undefined;
  // Such a rule does not apply, whatever it compares with.
  if (fact === "absent") return false;
  const truth = isOneOf(fact.value, right);
  if (op === "==" || op === "in") return truth;
  return op === "!=" && truth !== undefined ? !truth : undefined;
}

/** Headers that the packet does not have. */
const OTHER_HEADERS: ReadonlySet<string> = new Set([
  "ip6",
  "icmp",
  "icmpv6",
  "igmp",
  "sctp",
  "dccp",
  "arp",
  "vlan",
]);

/** What the left side of a match is of this packet: `absent` where it looks into another header, undefined where that is not known. */
function factOf(left: unknown, packet: OpeningPacket): { value: string | number } | "absent" | undefined {
  const { meta, payload, ct } = (left ?? {}) as {
    meta?: { key?: string };
    payload?: { protocol?: string; field?: string };
    ct?: { key?: string };
  };
  if (meta?.key === "iifname" || meta?.key === "iif") return { value: packet.interface };
  if (meta?.key === "l4proto") return { value: packet.protocol };
  if (meta?.key === "nfproto") return { value: "ipv4" };
  if (ct?.key === "state") return { value: "new" };
  const { protocol = "", field } = payload ?? {};
  if (OTHER_HEADERS.has(protocol)) return "absent";
  if ((protocol === "tcp" || protocol === "udp") && protocol !== packet.protocol) return "absent";
  if (protocol === "ip" && field === "protocol") return { value: packet.protocol };
  if (protocol === "ip" && field === "saddr") return { value: packet.source };
  if (protocol === "ip" && field === "daddr") return { value: packet.destination };
  return field === "dport" ? { value: packet.port } : undefined;
}

/** Whether a fact is the value, or one of the values, on the right side of a match. */
function isOneOf(fact: string | number, right: unknown): Truth {
  if (typeof right === "number") return fact === right;
  if (typeof right === "string") {
    if (right.startsWith("@")) return undefined;
    return right.endsWith("*") ? String(fact).startsWith(right.slice(0, -1)) : fact === right;
  }
  if (Array.isArray(right)) return or(right.map((one) => isOneOf(fact, one)));
  const { set, range, prefix } = (right ?? {}) as {
    set?: unknown[];
    range?: [unknown, unknown];
    prefix?: { addr: unknown; len: unknown };
  };
  if (set !== undefined) return or(set.map((one) => isOneOf(fact, one)));
  if (range !== undefined && typeof fact === "number")
    return Number(range[0]) <= fact && fact <= Number(range[1]);
  const network = prefix && `${prefix.addr}/${prefix.len}`;
  return network !== undefined && parsePrefix(network).ok ? isInPrefix(String(fact), network) : undefined;
}

function and(a: Truth, b: Truth): Truth {
  if (a === false || b === false) return false;
  return a && b;
}

function or(truths: readonly Truth[]): Truth {
  return truths.includes(true) ? true : truths.includes(undefined) ? undefined : false;
}
