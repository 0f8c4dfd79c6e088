/** Linux' iproute2: `ip route` (`ip route get` too), `ip neigh`, `ip addr` and its brief form. Their JSON is read in objects.ts. */
import { ZERO_MAC } from "../../packet/address.ts";
import { type Fact, type Reader, rowReader, type Taken } from "./reader.ts";
import { address, isIpv6, mac, neighbourState, number, prefixOf, wordsOf } from "./values.ts";

/** Types of routes (ip-route(8)). */
const ROUTE_TYPES = [
  "unicast",
  "local",
  "broadcast",
  "multicast",
  "anycast",
  "unreachable",
  "prohibit",
  "throw",
  "blackhole",
] as const;
/** A type of route. */
export type RouteType = (typeof ROUTE_TYPES)[number];

/** Whether routes of this type send nothing. */
export function isRefusing(type: string): boolean {
  return type === "unreachable" || type === "prohibit" || type === "throw" || type === "blackhole";
}

/** How a refusing route refuses. `throw` ends the search in its table, which without other tables is as if unreachable. */
export function refusal(type: RouteType): "unreachable" | "blackhole" {
  return type === "blackhole" ? "blackhole" : "unreachable";
}

/** Keywords of a route that have a value, and those that have none. */
const WITH_VALUE = new Set(
  "via dev proto scope src metric table tos dsfield pref mtu advmss hoplimit initcwnd initrwnd rtt rttvar ssthresh window cwnd reordering realms realm weight nhid uid quickack features congctl expires error rto_min mark from iif".split(
    " ",
  ),
);
const ALONE = new Set(
  "onlink linkdown dead pervasive offload trap rt_trap rt_offload unresolved notify cache lock".split(" "),
);

/** The keywords of a route with their values; undefined when there is a word among them that is not known. */
function keywords(words: readonly string[]): Map<string, string> | undefined {
  const found = new Map<string, string>();
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (ALONE.has(word)) found.set(word, "");
    else if (WITH_VALUE.has(word)) {
      at += 1;
      if (word === "via" && words[at] === "inet") at += 1;
      if (word === "mtu" && words[at] === "lock") at += 1;
      const value = words[at];
      if (value === undefined) return undefined;
      found.set(word, value);
    } else return undefined;
  }
  return found;
}

/** One route; the `nexthop` lines of a multipath route, and the `cache` line of `ip route get`, stand below it. */
const route: Reader = (lines, at) => {
  const words = wordsOf(lines[at] ?? "");
  const type = ROUTE_TYPES.find((one) => one === words[0]);
  const [destinationText, ...rest] = type === undefined ? words : words.slice(1);
  const destination = destinationText === "default" ? "0.0.0.0/0" : prefixOf(destinationText);
  const common = keywords(rest);
  if (destination === undefined || common === undefined) return undefined;

  const hops: Map<string, string>[] = [];
  let end = at + 1;
  for (; end < lines.length; end++) {
    const [first, ...more] = wordsOf(lines[end]!);
    if (first === "cache") continue;
    const hop = first === "nexthop" ? keywords(more) : undefined;
    if (hop === undefined) break;
    hops.push(hop);
  }
  const refuses = type !== undefined && isRefusing(type);
  if (hops.length === 0) hops.push(common);
  const metric = number(common.get("metric"));
  const table = common.get("table");
  const facts: Fact[] = [];
  for (const hop of hops) {
    const gateway = address(hop.get("via"));
    const device = hop.get("dev");
    const source = common.get("src");
    // A next hop that is no IPv4 address, a source that was cut in two by a narrow terminal: not this line alone.
    if (hop.has("via") && gateway === undefined) return undefined;
    if (source !== undefined && address(source) === undefined) return undefined;
    if (device === undefined && gateway === undefined && !refuses) return undefined;
    facts.push({
      fact: "route",
      destination,
      ...(gateway === undefined ? {} : { gateway }),
      ...(device === undefined ? {} : { interface: device }),
      ...(metric === undefined ? {} : { metric }),
      ...(source === undefined ? {} : { source }),
      ...(table === undefined || table === "main" ? {} : { table }),
      ...(refuses ? { refuses: refusal(type) } : {}),
      ...(type === "local" || type === "broadcast" ? { local: true } : {}),
      ...(hop.has("dead") ? { dead: true } : {}),
    });
  }
  return { format: "ip-route", lines: end - at, facts };
};

/** `10.0.1.1 dev ens3 lladdr 00:00:5e:00:01:00 REACHABLE`, with the figures of `ip -s neigh` or without. */
function neigh(line: string): Fact | undefined {
  const [of, ...words] = wordsOf(line);
  const own = address(of);
  const state = words.at(-1);
  // `dev` is left out by `ip neigh show dev ens3`.
  if (own === undefined || !/^[A-Z]+$/.test(state ?? "") || neighbourState(state) === undefined)
    return undefined;
  const rest = words.slice(0, -1).join(" ");
  const found =
    /^(?:dev (\S+) ?)?(?:lladdr (\S+) ?)?(?:ref \d+ ?)?(?:used [\d/]+ ?)?(?:probes \d+ ?)?(?:(?:router|proxy|extern_learn|managed) ?)*(?:proto \S+ ?)?$/.exec(
      rest,
    );
  if (found === null) return undefined;
  const [, device, macText] = found;
  const known = mac(macText);
  if (macText !== undefined && known === undefined) return undefined;
  return {
    fact: "neighbour",
    address: own,
    ...(device === undefined ? {} : { interface: device }),
    ...(known === undefined ? {} : { mac: known }),
    state: neighbourState(state)!,
  };
}

/** `ip addr`: a numbered line for each interface, then what it has, indented. */
const addr: Reader = (lines, at, section) => {
  const line = lines[at] ?? "";
  const taken = (facts: Fact[], next?: Taken["section"]): Taken => ({
    format: "ip-addr",
    lines: 1,
    facts,
    ...(next === undefined ? {} : { section: next }),
  });
  const device = /^\s*\d+: ([^\s:@]+)(?:@\S+)?:? +(?:<|inet6? )/.exec(line)?.[1];
  if (device !== undefined && line.includes("<")) return taken([], { interface: device });
  const link = /^\s+link\/\S+(?: (\S+))?/.exec(line);
  if (link !== null) {
    const own = mac(link[1]);
    return taken([], own === undefined || own === ZERO_MAC ? section : { ...section, mac: own });
  }
  if (/^\s+(valid_lft|altname|inet6) /.test(line)) return taken([]);
  // One line a time (`ip -o addr`), or indented.
  const inet = /^(?:\s*\d+: \S+)?\s+inet (\S+)(?: (.*))?$/.exec(line);
  const [own, length = "32"] = inet?.[1]?.split("/") ?? [];
  if (address(own) === undefined || number(length) === undefined || Number(length) > 32) return brief(line);
  return taken([
    {
      fact: "address",
      address: own!,
      prefixLength: Number(length),
      ...(device === undefined ? {} : { interface: device }),
    },
  ]);
};

/** `ip -br addr`: `ens3  UP  10.0.1.3/24 fe80::1/64`. */
function brief(line: string): Taken | undefined {
  const [device, state, ...prefixes] = wordsOf(line);
  if (device === undefined || !/^(UP|DOWN|UNKNOWN)$/.test(state ?? "")) return undefined;
  const own = prefixes.filter((text) => !isIpv6(text) && !/^(metric|\d+|peer)$/.test(text));
  if (own.some((text) => prefixOf(text) === undefined)) return undefined;
  return {
    format: "ip-addr",
    lines: 1,
    facts: own.map((text) => {
      const [of = "", length = "32"] = text.split("/");
      return {
        fact: "address",
        address: of,
        prefixLength: Number(length),
        interface: device.split("@")[0]!,
      };
    }),
  };
}

/** iproute2's text forms. */
export const iproute2Readers: readonly Reader[] = [rowReader("ip-neigh", neigh), route, addr];
