/** Which way a guest's stack sends a packet, decided from its tables as each stack decides. */
import { isInPrefix, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { prefix } from "./formats/values.ts";
import type { Format, InterfaceRef, Route, Tables } from "./types.ts";

/**
 * The rule that decided.
 * - `longest-prefix`: the route with the longest prefix, then the lowest metric, has a gateway.
 * - `on-link-route`: that route has no gateway: Avahi's, NetworkManager's, macOS' or APIPA's 169.254.0.0/16 are such.
 * - `rfc3927`: RFC 3927 s. 2.6.2, as Windows keeps to it: 169.254/16 is on the link although no route says so.
 * - `neighbour-table`: there is no routing table, but the guest has asked for the destination by ARP itself.
 * - `own-address`, `refusing-route`, `no-route`, `no-address`: nothing goes out, for that reason.
 */
export type Rule =
  | "longest-prefix"
  | "on-link-route"
  | "rfc3927"
  | "neighbour-table"
  | "own-address"
  | "refusing-route"
  | "no-route"
  | "no-address";

/** Where a packet goes, and why. */
export interface Decision {
  destination: string;
  way: "gateway" | "on-link" | "nowhere";
  rule: Rule;
  /** Whom the guest asks for by ARP: the gateway, or the destination itself; absent when nothing goes out. */
  nextHop?: string;
  /** Whether the gateway lies on a network that the interface is connected to; absent when the tables do not tell. */
  connected?: boolean;
  /** Where it leaves, in the words of the table that decided. */
  via: InterfaceRef;
  /** The address that it comes from, where the tables tell. */
  source?: string;
  /** The route that decided, where one did. */
  route?: Route;
  /** One sentence. */
  reason: string;
  /** What else is worth knowing, a sentence each. */
  notes: string[];
}

/** Outputs that list the guest's own addresses. */
const ADDRESS_FORMATS: ReadonlySet<Format> = new Set(["ip-addr", "ipconfig"]);

/** On Linux the tables are asked in this order, unless rules say otherwise (ip-rule(8)). */
const LINUX_TABLES: ReadonlyArray<string | undefined> = ["local", undefined, "default"];

/**
 * The way of a packet to `destination` (an IPv4 address): undefined when the tables do not say enough, that is no routes, no
 * addresses with gateways, and no trace of it among the neighbours. Throws RangeError when `destination` is no address.
 *
 * @example
 * const tables = parseTables("default via 10.0.1.1 dev ens3\n10.0.1.0/24 dev ens3 scope link src 10.0.1.3\n");
 * const decision = decide(tables, "169.254.169.254");
 * decision?.way; // "gateway"
 * decision?.source; // "10.0.1.3"
 */
export function decide(tables: Tables, destination: string): Decision | undefined {
  const routes = usableRoutes(tables);
  const notes = notesOn(tables, destination, routes);
  const outcome = (of: Omit<Decision, "destination" | "notes">): Decision => ({ destination, ...of, notes });

  if (hasNoAddress(tables)) {
    return outcome({
      way: "nowhere",
      rule: "no-address",
      via: {},
      reason: "the guest has no IPv4 address but that of its loopback",
    });
  }
  const best = bestRoute(tables, routes, destination);
  if (best === undefined && routes.length === 0) {
    const asked = tables.neighbours.find(({ address }) => address === destination);
    if (asked === undefined) return undefined;
    return outcome({
      way: "on-link",
      rule: "neighbour-table",
      nextHop: destination,
      via: refOf(asked),
      reason: `the guest's neighbour table has ${destination} itself (line ${asked.line}): it asks for it by ARP, and no gateway is used`,
    });
  }
  if (tables.system === "windows" && isInPrefix(destination, LINK_LOCAL_PREFIX)) {
    // A route within 169.254/16 is more specific than the rule, or the same as it: then that route decides.
    const via =
      best === undefined || lengthOf(best) < 16 ? onLinkInterface(tables, routes, destination) : undefined;
    if (via !== undefined) {
      const source = sourceFor(tables, routes, via, destination);
      return outcome({
        way: "on-link",
        rule: "rfc3927",
        nextHop: destination,
        via,
        ...(source === undefined ? {} : { source }),
        reason: `Windows takes ${LINK_LOCAL_PREFIX} to be on the link of the interface and never uses the default gateway for it (RFC 3927 s. 2.6.2); no route within that prefix says otherwise`,
      });
    }
  }
  if (best === undefined) {
    return outcome({
      way: "nowhere",
      rule: "no-route",
      via: {},
      reason: `no route holds ${destination}, and there is no default route`,
    });
  }
  const via = refOf(best);
  const named = `${best.destination} (line ${best.line})`;
  if (best.local) {
    return outcome({
      way: "nowhere",
      rule: "own-address",
      via,
      route: best,
      reason: `${destination} is an address of the guest's own by route ${named}: packets to it never leave the guest`,
    });
  }
  if (best.refuses !== undefined) {
    return outcome({
      way: "nowhere",
      rule: "refusing-route",
      via,
      route: best,
      reason: `the longest prefix that holds ${destination} is ${named}, and that route ${best.refuses === "blackhole" ? "drops" : "refuses"} packets`,
    });
  }
  const source = best.source ?? sourceFor(tables, routes, via, best.gateway ?? destination);
  const common = { via, route: best, ...(source === undefined ? {} : { source }) };
  if (best.gateway === undefined) {
    return outcome({
      way: "on-link",
      rule: "on-link-route",
      nextHop: destination,
      ...common,
      reason: `the longest prefix that holds ${destination} is ${named}, a route without a gateway: the guest asks for ${destination} itself by ARP`,
    });
  }
  const networks = connectedNetworks(tables, routes, via);
  const connected =
    networks.length === 0 ? undefined : networks.some((network) => isInPrefix(best.gateway!, network));
  return outcome({
    way: "gateway",
    rule: "longest-prefix",
    nextHop: best.gateway,
    ...(connected === undefined ? {} : { connected }),
    ...common,
    reason:
      `the longest prefix that holds ${destination} is ${named}, via ${best.gateway}` +
      (connected === false
        ? `; but ${best.gateway} lies on no network that ${nameOf(via)} is connected to (${networks.join(", ")})`
        : ""),
  });
}

/** An interface in words: its name, its index, or its address. */
export function nameOf(ref: InterfaceRef): string {
  return (
    ref.interface ??
    ref.interfaceAddress ??
    (ref.interfaceIndex === undefined ? "its interface" : `interface ${ref.interfaceIndex}`)
  );
}

/**
 * Whether both may be the same interface, by the first thing that both tell. The address comes last: an interface may have
 * several. Where they have nothing in common to compare, they may.
 */
export function mayBeSame(one: InterfaceRef, other: InterfaceRef): boolean {
  const key = REF_KEYS.find((name) => one[name] !== undefined && other[name] !== undefined);
  return key === undefined || one[key] === other[key];
}

const REF_KEYS = ["interface", "interfaceIndex", "interfaceAddress"] as const;

/**
 * All that the tables tell about an interface. `route print` has its address, netsh its index and name, ipconfig name and address:
 * with each the others can be found.
 */
export function completeRef(tables: Tables, ref: InterfaceRef): InterfaceRef {
  const known: InterfaceRef[] = [
    ...tables.addresses.map((of) => ({ interfaceAddress: of.address, ...refOf(of) })),
    ...tables.neighbours,
    ...tables.routes,
  ];
  let complete = refOf(ref);
  // Twice: the index may be needed to find the name.
  for (const of of [...known, ...known])
    if (REF_KEYS.some((key) => complete[key] !== undefined && complete[key] === of[key]))
      complete = { ...refOf(of), ...complete };
  return complete;
}

/** The default route that is in use, among routes with a gateway. */
export function defaultGateway(tables: Tables): Route | undefined {
  const routes = usableRoutes(tables).filter(
    (route) => route.destination === "0.0.0.0/0" && route.gateway !== undefined,
  );
  return preferred(routes);
}

/** Routes that send packets. Without a routing table: those that the guest's addresses imply, where they come with gateways. */
function usableRoutes(tables: Tables): Route[] {
  if (tables.routes.length > 0) return tables.routes.filter((route) => !route.persistent && !route.dead);
  return tables.addresses.flatMap((of) => {
    const ref = refOf(of);
    const onLink: Route[] =
      of.prefixLength === undefined
        ? []
        : [{ ...ref, destination: prefix(of.address, of.prefixLength), source: of.address, line: of.line }];
    const defaults = of.gateways?.map((gateway) => ({
      ...ref,
      destination: "0.0.0.0/0",
      gateway,
      source: of.address,
      line: of.line,
    }));
    // Linux' and the BSDs' lists of addresses have no gateways: they say nothing about routes.
    return tables.system === "windows" ? [...onLink, ...(defaults ?? [])] : [];
  });
}

/** The route that decides: longest prefix, then lowest metric, then the first; on Linux table by table. */
function bestRoute(tables: Tables, routes: readonly Route[], destination: string): Route | undefined {
  const holding = routes.filter((route) => isInPrefix(destination, route.destination));
  if (tables.system !== "linux") return preferred(holding);
  for (const table of LINUX_TABLES) {
    const found = preferred(holding.filter((route) => route.table === table));
    if (found !== undefined) return found;
  }
  return undefined;
}

function preferred(routes: readonly Route[]): Route | undefined {
  const [first] = [...routes].sort((a, b) => lengthOf(b) - lengthOf(a) || metricOf(a) - metricOf(b));
  return first;
}

function lengthOf(route: Route): number {
  return Number(route.destination.split("/")[1]);
}

/** Windows adds the interface's metric to the route's. */
function metricOf(route: Route): number {
  return (route.metric ?? 0) + (route.interfaceMetric ?? 0);
}

/** The interface on which Windows asks for a link-local address: the one that it has asked on, else that of the best route. */
function onLinkInterface(
  tables: Tables,
  routes: readonly Route[],
  destination: string,
): InterfaceRef | undefined {
  const usable = routes.filter((route) => !isOnLoopback(route) && route.refuses === undefined);
  // All of 0.0.0.0/0 before the others: the interface with the default route is the one that is in use.
  const candidates = [
    ...usable.filter((route) => route.destination === "0.0.0.0/0"),
    ...usable.filter((route) => route.destination !== "0.0.0.0/0"),
  ];
  const asked = tables.neighbours.find(({ address }) => address === destination);
  const best =
    candidates.find((route) => asked !== undefined && mayBeSame(route, asked)) ??
    preferred(candidates.filter((route) => route.destination === "0.0.0.0/0")) ??
    preferred(candidates);
  if (best !== undefined) return refOf(best);
  return asked === undefined ? undefined : refOf(asked);
}

function isOnLoopback(route: Route): boolean {
  return (
    isInPrefix(route.destination.split("/")[0]!, "127.0.0.0/8") ||
    (route.interfaceAddress !== undefined && isInPrefix(route.interfaceAddress, "127.0.0.0/8")) ||
    /^lo\d*$/.test(route.interface ?? "")
  );
}

/** The networks that an interface is connected to, by its routes without a gateway and its addresses. */
function connectedNetworks(tables: Tables, routes: readonly Route[], via: InterfaceRef): string[] {
  const byRoute = routes
    .filter(
      (route) =>
        route.gateway === undefined &&
        !route.local &&
        route.refuses === undefined &&
        !isOnLoopback(route) &&
        mayBeSame(route, via) &&
        // Multicast and broadcast are on every link.
        !isInPrefix(route.destination.split("/")[0]!, "224.0.0.0/3"),
    )
    .map((route) => route.destination);
  const byAddress = tables.addresses
    .filter((of) => of.prefixLength !== undefined && mayBeSame(of, via))
    .map((of) => prefix(of.address, of.prefixLength!));
  // Windows lists own and broadcast addresses too, as /32: they are told by the networks that hold them.
  const all = [...new Set([...byRoute, ...byAddress])];
  return all.filter(
    (one) =>
      !all.some((wider) => wider !== one && one.endsWith("/32") && isInPrefix(one.slice(0, -3), wider)),
  );
}

/** The address that a packet out of `via` to the neighbour `nextHop` comes from, where a table tells. */
function sourceFor(
  tables: Tables,
  routes: readonly Route[],
  via: InterfaceRef,
  nextHop: string,
): string | undefined {
  if (via.interfaceAddress !== undefined) return via.interfaceAddress;
  const own = tables.addresses.filter((of) => mayBeSame(of, via) && !isInPrefix(of.address, "127.0.0.0/8"));
  const near = own.find(
    (of) => of.prefixLength !== undefined && isInPrefix(nextHop, prefix(of.address, of.prefixLength)),
  );
  const byRoute = routes.find(
    (route) =>
      route.source !== undefined &&
      mayBeSame(route, via) &&
      isInPrefix(nextHop, route.destination) &&
      lengthOf(route) > 0,
  );
  const anyByRoute = routes.find((route) => route.source !== undefined && mayBeSame(route, via));
  return near?.address ?? byRoute?.source ?? own[0]?.address ?? anyByRoute?.source;
}

/** Whether the tables list the guest's addresses, and none of them is good for anything outside. */
function hasNoAddress(tables: Tables): boolean {
  const isLoopback = (address: string) => isInPrefix(address, "127.0.0.0/8");
  if (tables.outputs.some(({ format }) => ADDRESS_FORMATS.has(format)))
    return tables.addresses.every(({ address }) => isLoopback(address));
  const printed = tables.outputs.some(({ format }) => format === "windows-route-print");
  const named = tables.routes.flatMap(({ interfaceAddress }) => interfaceAddress ?? []);
  return printed && named.length > 0 && named.every(isLoopback);
}

function notesOn(tables: Tables, destination: string, routes: readonly Route[]): string[] {
  const notes: string[] = [];
  if (tables.routes.length === 0 && routes.length > 0)
    notes.push("There is no routing table in it; this goes by the guest's addresses and default gateways.");
  for (const route of tables.routes) {
    const isActive = routes.some(
      ({ destination: active, gateway }) => active === route.destination && gateway === route.gateway,
    );
    if (
      route.persistent &&
      !isActive &&
      lengthOf(route) >= 16 &&
      isInPrefix(destination, route.destination)
    ) {
      notes.push(
        `A route to ${route.destination} via ${route.gateway} is saved (line ${route.line}) but not active, as it happens when an image was made in another subnet.`,
      );
    }
  }
  const others = new Set(
    routes.flatMap(({ table }) => (table === undefined || LINUX_TABLES.includes(table) ? [] : table)),
  );
  if (others.size > 0)
    notes.push(
      `Routes in table ${[...others].join(", ")} were left out: which packets use them is for "ip rule" to say.`,
    );
  if (routes.length > 0 && tables.addresses.length > 0 && tables.addresses.every(isSelfAssigned))
    notes.push(
      "The guest has no address but one that it gave itself (RFC 3927, APIPA): no DHCP server answered. Services may be asked from it all the same.",
    );
  const defaults = routes.filter((route) => route.destination === "0.0.0.0/0" && !route.table);
  // The BSDs have no metrics, and macOS' further default routes serve bound sockets alone.
  if ((tables.system === "windows" || tables.system === "linux") && new Set(defaults.map(nameOf)).size > 1)
    notes.push(
      `There are default routes on several interfaces (${[...new Set(defaults.map(nameOf))].join(", ")}); the lowest metric wins.`,
    );
  return notes;
}

/** Whether an address is link-local, or the loopback's, which says nothing. */
function isSelfAssigned({ address }: { address: string }): boolean {
  return isInPrefix(address, LINK_LOCAL_PREFIX) || isInPrefix(address, "127.0.0.0/8");
}

function refOf(of: InterfaceRef): InterfaceRef {
  return {
    ...(of.interface === undefined ? {} : { interface: of.interface }),
    ...(of.interfaceIndex === undefined ? {} : { interfaceIndex: of.interfaceIndex }),
    ...(of.interfaceAddress === undefined ? {} : { interfaceAddress: of.interfaceAddress }),
  };
}
