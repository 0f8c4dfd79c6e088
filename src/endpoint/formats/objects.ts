/**
 * Tables as objects: `ip -j route`, `ip -j neigh`, `ip -j addr`, and PowerShell's Get-NetRoute and Get-NetNeighbor, as JSON or
 * as lists (`Key : Value`). Property names are never translated.
 */
import type { Format } from "../types.ts";
import { isRefusing, type RouteType, refusal } from "./iproute2.ts";
import type { Fact, Reader, Taken } from "./reader.ts";
import { address, isIpv6, mac, neighbourState, number, prefixOf, windowsNeighbour } from "./values.ts";

type Properties = Record<string, unknown>;

/** JSON: from a line that begins with a bracket to the line where that bracket is closed. */
export const json: Reader = (lines, at) => {
  if (!/^\s*[[{]/.test(lines[at] ?? "")) return undefined;
  const end = closingLine(lines, at);
  if (end === undefined) return undefined;
  // Joined without the line ends: so it reads what a terminal wrapped in the middle of a string.
  const parsed = parseJson(lines.slice(at, end + 1).join(""));
  const items = [parsed].flat();
  const formats: Format[] = [];
  const facts: Fact[] = [];
  for (const item of items) {
    const read = isProperties(item) ? fromProperties(item) : undefined;
    // One that is not known makes the whole unknown: then it is told line by line, and nothing is lost.
    if (read === undefined) return undefined;
    formats.push(read.format);
    facts.push(...read.facts);
  }
  return formats[0] === undefined ? undefined : { format: formats[0], lines: end + 1 - at, facts };
};

/** The line where the bracket that `lines[at]` begins with is closed. */
function closingLine(lines: readonly string[], at: number): number | undefined {
  let depth = 0;
  let inString = false;
  for (let line = at; line < lines.length; line++) {
    for (const [part] of lines[line]!.matchAll(/\\.|["[\]{}]/g)) {
      if (part === '"') inString = !inString;
      else if (!inString && (part === "[" || part === "{")) depth += 1;
      else if (!inString && (part === "]" || part === "}")) depth -= 1;
    }
    if (depth <= 0) return line;
  }
  return undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isProperties(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** PowerShell's Format-List: one object, a property a line, up to a line that is none. Long values go on indented. */
export const list: Reader = (lines, at) => {
  const properties: Properties = {};
  let end = at;
  for (; end < lines.length; end++) {
    const [, key, value] = /^\s*([A-Za-z]+)\s+: ?(.*)$/.exec(lines[end]!) ?? [];
    if (key === undefined || key in properties) break;
    properties[key] = value?.trim();
  }
  const read = end - at < 2 ? undefined : fromProperties(properties);
  return read === undefined ? undefined : { ...read, lines: end - at };
};

/** The facts of one object, by the properties that it has. */
function fromProperties(of: Properties): Omit<Taken, "lines"> | undefined {
  if ("DestinationPrefix" in of) return facts("get-net-route", netRoute(of));
  if ("LinkLayerAddress" in of) return facts("get-net-neighbor", netNeighbor(of));
  if ("addr_info" in of) return facts("ip-addr", ipAddr(of));
  if ("dst" in of && ("state" in of || "lladdr" in of)) return facts("ip-neigh", ipNeigh(of));
  if ("dst" in of) return facts("ip-route", ipRoute(of));
  // `ip -j addr` leaves empty objects for interfaces that were filtered out.
  return Object.keys(of).length === 0 ? { format: "ip-addr", facts: [] } : undefined;
}

function facts(format: Format, of: Fact[] | undefined): Omit<Taken, "lines"> | undefined {
  return of === undefined ? undefined : { format, facts: of };
}

function netRoute(of: Properties): Fact[] | undefined {
  const text = textOf(of.DestinationPrefix) ?? "";
  if (isIpv6(text)) return [];
  const destination = prefixOf(text);
  const nextHop = address(textOf(of.NextHop));
  if (destination === undefined || nextHop === undefined) return undefined;
  // Enumerations are numbers in JSON: Store 0 is the persistent one.
  const persistent = textOf(of.Store ?? of.PolicyStore)?.startsWith("Persistent") || of.Store === 0;
  return [
    {
      fact: "route",
      destination,
      ...(nextHop === "0.0.0.0" ? {} : { gateway: nextHop }),
      ...interfaceOf(of),
      ...defined({
        metric: countOf(of.RouteMetric),
        interfaceMetric: countOf(of.InterfaceMetric ?? of.ifMetric),
      }),
      ...(persistent ? { persistent } : {}),
    },
  ];
}

/** MSFT_NetNeighbor.State as a number, in the order in which Microsoft lists its values. */
const NEIGHBOUR_STATES = ["Unreachable", "Incomplete", "Probe", "Delay", "Stale", "Reachable", "Permanent"];

function netNeighbor(of: Properties): Fact[] | undefined {
  const text = textOf(of.IPAddress) ?? "";
  if (isIpv6(text)) return [];
  const own = address(text);
  if (own === undefined) return undefined;
  const state = typeof of.State === "number" ? NEIGHBOUR_STATES[of.State] : textOf(of.State);
  return [
    {
      fact: "neighbour",
      address: own,
      ...interfaceOf(of),
      ...windowsNeighbour(textOf(of.LinkLayerAddress), state),
    },
  ];
}

function interfaceOf(of: Properties): { interface?: string; interfaceIndex?: number } {
  return defined({
    interface: textOf(of.InterfaceAlias ?? of.ifAlias),
    interfaceIndex: countOf(of.InterfaceIndex ?? of.ifIndex),
  });
}

function ipRoute(of: Properties): Fact[] | undefined {
  const text = textOf(of.dst) ?? "";
  if (isIpv6(text)) return [];
  const destination = text === "default" ? "0.0.0.0/0" : prefixOf(text);
  if (destination === undefined) return undefined;
  const type = textOf(of.type);
  const hops = Array.isArray(of.nexthops) ? of.nexthops.filter(isProperties) : [of];
  // A next hop of another family, which is an IPv6 address (RFC 5549).
  if (hops.some((hop) => "via" in hop)) return undefined;
  return hops.map((hop) => {
    const flags = [hop.flags, of.flags].flat();
    return {
      fact: "route",
      destination,
      ...defined({
        gateway: address(textOf(hop.gateway)),
        interface: textOf(hop.dev),
        metric: countOf(of.metric),
        source: address(textOf(of.prefsrc)),
        table: tableOf(textOf(of.table)),
      }),
      ...(type !== undefined && isRefusing(type) ? { refuses: refusal(type as RouteType) } : {}),
      ...(type === "local" || type === "broadcast" ? { local: true } : {}),
      ...(flags.includes("dead") ? { dead: true } : {}),
    };
  });
}

function tableOf(table: string | undefined): string | undefined {
  return table === "main" ? undefined : table;
}

function ipNeigh(of: Properties): Fact[] | undefined {
  const text = textOf(of.dst) ?? "";
  if (isIpv6(text)) return [];
  const own = address(text);
  if (own === undefined) return undefined;
  const [state] = [of.state].flat();
  return [
    {
      fact: "neighbour",
      address: own,
      ...defined({
        interface: textOf(of.dev),
        mac: mac(textOf(of.lladdr)),
        state: neighbourState(textOf(state)),
      }),
    },
  ];
}

function ipAddr(of: Properties): Fact[] | undefined {
  const infos = Array.isArray(of.addr_info) ? of.addr_info.filter(isProperties) : [];
  return infos.flatMap((info) => {
    const own = address(textOf(info.local));
    if (own === undefined) return [];
    return [
      {
        fact: "address" as const,
        address: own,
        ...defined({
          prefixLength: countOf(info.prefixlen),
          interface: textOf(of.ifname),
          mac: mac(textOf(of.address)),
        }),
      },
    ];
  });
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function countOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : number(textOf(value));
}

/** The properties that have a value. */
function defined<T extends object>(of: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as never;
}

/** Both forms. */
export const objectReaders: readonly Reader[] = [json, list];
