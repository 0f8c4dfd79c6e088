import type {
  BackendEntry,
  BackendKey,
  ServiceAddress,
  ServiceEntry,
  ServiceKey,
  WhenNoBackend,
} from "../datapath/types.ts";
import { NS_PER_MS } from "./clock.ts";
import type { Mirror } from "./mirror.ts";

/** What the datapath should do for one service: the backends are those in use, in the order of their slots. */
export interface DesiredService {
  key: ServiceKey;
  /** TTL of what the guest gets back, 1-64. */
  responseHopLimit: number;
  whenNoBackend: WhenNoBackend;
  /** How long flows last once the service is removed, in ms. */
  drain: number;
  backends: BackendEntry[];
}

/** The contents of the three maps that hold services, as found. */
export interface ServiceMaps {
  /** Service address and how many services it has. */
  addresses: Array<[string, number]>;
  services: Array<[ServiceKey, ServiceEntry]>;
  backends: Array<[BackendKey, BackendEntry]>;
}

/** One step of a plan: writes to one map, in their order. */
export type Operation =
  | { kind: "set-backends"; entries: Array<[BackendKey, BackendEntry]> }
  | { kind: "delete-backends"; keys: BackendKey[] }
  | { kind: "set-services"; entries: Array<[ServiceKey, ServiceEntry]> }
  /** Before these services are deleted, by their ids; and those of addresses that no service has any more, which the host opened itself. */
  | { kind: "end-flows"; services: number[]; addresses: string[] }
  | { kind: "delete-services"; keys: ServiceKey[] }
  /** Service addresses and how many services each has. */
  | { kind: "set-addresses"; entries: Array<[string, number]> }
  | { kind: "delete-addresses"; keys: string[] };

/**
 * The writes that turn `actual` into `desired`, in an order that keeps the datapath right after each of them, since frames
 * come at any time: a slot is filled before a service counts it, a service is there before its address, and what goes, goes
 * the other way round; slots that nobody looks at go first. Equal states give no writes.
 *
 * A service that is no longer desired opens no flows from now on and is deleted with those it has when its drain ends; until then it keeps
 * its address, by which their frames are known, and its slots, which say to the next agent, too, whose flows end when it comes back without
 * these backends. One that comes back before that is as it was. `now`: CLOCK_MONOTONIC, ns.
 *
 * A service that is there already keeps its id. Ids found anywhere in `actual` are not given to another service, so a new
 * service never sees the slots, or the flows, of one that is about to go.
 */
export function plan(desired: readonly DesiredService[], actual: ServiceMaps, now: bigint): Operation[] {
  const found = new Map(actual.services.map(([key, entry]) => [serviceKeyText(key), entry]));
  const foundBackends = new Map(actual.backends.map(([key, entry]) => [backendKeyText(key), entry]));
  const foundAddresses = new Map(actual.addresses);
  const ids = assignIds(desired, actual);

  const change: ServiceWrites = { shrink: [], fillSlots: [], setServices: [] };
  const wantedServices = new Set<string>();
  const wantedSlots = new Set<string>();
  const wantedAddresses = new Map<string, number>();
  function keepAddress({ address }: ServiceKey): void {
    wantedAddresses.set(address, (wantedAddresses.get(address) ?? 0) + 1);
  }

  for (const [index, service] of desired.entries()) {
    const text = serviceKeyText(service.key);
    const id = ids[index]!;
    wantedServices.add(text);
    keepAddress(service.key);
    for (const slot of service.backends.keys()) wantedSlots.add(backendKeyText({ service: id, slot }));
    addWrites(change, service, id, found.get(text), (key) => foundBackends.get(backendKeyText(key)));
  }

  const drainServices: Array<[ServiceKey, ServiceEntry]> = [];
  const drainingIds = new Set<number>();
  const endingFlows: number[] = [];
  const goneServices: ServiceKey[] = [];
  for (const [key, before] of actual.services) {
    if (wantedServices.has(serviceKeyText(key))) continue;
    const entry = draining(before, now);
    if (!sameService(before, entry)) drainServices.push([key, entry]);
    if (entry.drainEnds > now) {
      keepAddress(key);
      drainingIds.add(entry.id);
    } else {
      // An entry that was never filled has none.
      if (entry.id !== 0) endingFlows.push(entry.id);
      goneServices.push(key);
    }
  }

  const addresses = [...wantedAddresses];
  const before = (address: string) => foundAddresses.get(address) ?? 0;
  const goneAddresses = actual.addresses.flatMap(([address]) =>
    wantedAddresses.has(address) ? [] : address,
  );
  const goneSlots = actual.backends
    .map(([key]) => key)
    .filter((key) => !wantedSlots.has(backendKeyText(key)));
  const isRead = slotsInUse(actual.services);

  return withoutEmpty([
    // First, for their room: with what an earlier plan wrote before it failed in a full map, the next would fail there, too.
    { kind: "delete-backends", keys: goneSlots.filter((key) => !isRead(key)) },
    ...inOrder(change),
    { kind: "set-addresses", entries: addresses.filter(([address, services]) => services > before(address)) },
    { kind: "set-services", entries: drainServices },
    { kind: "set-addresses", entries: addresses.filter(([address, services]) => services < before(address)) },
    // In this order: flows without a service or its address would be found by nobody, were the agent killed in between.
    { kind: "end-flows", services: endingFlows, addresses: goneAddresses },
    { kind: "delete-addresses", keys: goneAddresses },
    { kind: "delete-services", keys: goneServices },
    {
      kind: "delete-backends",
      keys: goneSlots.filter((key) => isRead(key) && !drainingIds.has(key.service)),
    },
  ]);
}

/**
 * The writes for some services that the maps have already, in the order of `plan`. What there is beside them costs nothing. Undefined where the maps
 * lack one of them, or have it as removed.
 */
export function planChanges(
  desired: readonly DesiredService[],
  tables: ServiceTables,
): Operation[] | undefined {
  const change: ServiceWrites = { shrink: [], fillSlots: [], setServices: [] };
  const free: BackendKey[] = [];
  for (const service of desired) {
    const before = tables.services.get(service.key);
    if (before === undefined || before.drainEnds !== 0n) return undefined;
    addWrites(change, service, before.id, before, tables.backends.get);
    for (let slot = service.backends.length; slot < before.backends; slot++)
      free.push({ service: before.id, slot });
  }
  return withoutEmpty([...inOrder(change), { kind: "delete-backends", keys: free }]);
}

/** The writes for services that stay or come. */
interface ServiceWrites {
  /** Those that have fewer backends than before. */
  shrink: Array<[ServiceKey, ServiceEntry]>;
  fillSlots: Array<[BackendKey, BackendEntry]>;
  /** The others. */
  setServices: Array<[ServiceKey, ServiceEntry]>;
}

/** Adds the writes for one service under an id. */
function addWrites(
  writes: ServiceWrites,
  desired: DesiredService,
  id: number,
  before: ServiceEntry | undefined,
  backendAt: (key: BackendKey) => BackendEntry | undefined,
): void {
  const { key, backends, ...rest } = desired;
  const entry: ServiceEntry = { id, backends: backends.length, ...rest, drainEnds: 0n };
  const shrinks = before !== undefined && before.id === id && before.backends > backends.length;
  if (before === undefined || !sameService(before, entry))
    writes[shrinks ? "shrink" : "setServices"].push([key, entry]);
  for (const [slot, backend] of backends.entries()) {
    const there = backendAt({ service: id, slot });
    if (there === undefined || !sameBackend(there, backend))
      writes.fillSlots.push([{ service: id, slot }, backend]);
  }
}

function inOrder({ shrink, fillSlots, setServices }: ServiceWrites): Operation[] {
  return [
    { kind: "set-services", entries: shrink },
    { kind: "set-backends", entries: fillSlots },
    { kind: "set-services", entries: setServices },
  ];
}

function withoutEmpty(operations: readonly Operation[]): Operation[] {
  return operations.filter((operation) => {
    if (operation.kind === "end-flows") return operation.services.length + operation.addresses.length > 0;
    return ("entries" in operation ? operation.entries : operation.keys).length > 0;
  });
}

/** Tells the slots that a service counts, or that it keeps since it is removed, from the others, at which nobody looks. */
function slotsInUse(services: ServiceMaps["services"]): (key: BackendKey) => boolean {
  const slots = new Map<number, number>();
  for (const [, { id, backends, drainEnds }] of services)
    slots.set(id, Math.max(slots.get(id) ?? 0, drainEnds === 0n ? backends : Number.POSITIVE_INFINITY));
  return ({ service, slot }) => slot < (slots.get(service) ?? 0);
}

/** The entry of a service that is removed, now or earlier. */
function draining(entry: ServiceEntry, now: bigint): ServiceEntry {
  if (entry.drainEnds !== 0n) return entry;
  return { ...entry, backends: 0, drainEnds: now + BigInt(entry.drain) * NS_PER_MS };
}

/** The maps that hold services, as this process alone writes them. */
export interface ServiceTables {
  serviceAddresses: Mirror<string, ServiceAddress>;
  services: Mirror<ServiceKey, ServiceEntry>;
  backends: Mirror<BackendKey, BackendEntry>;
}

/** Reads the maps that `plan` compares with. */
export function readServiceMaps(tables: ServiceTables): ServiceMaps {
  return {
    addresses: tables.serviceAddresses.entries().map(([address, entry]) => [address, entry.services]),
    services: tables.services.entries(),
    backends: tables.backends.entries(),
  };
}

/** The id of each desired service: its own where it has one, else the smallest that nobody has. Ids start at 1. */
function assignIds(desired: readonly DesiredService[], actual: ServiceMaps): number[] {
  const own = new Map(actual.services.map(([key, entry]) => [serviceKeyText(key), entry.id]));
  const taken = new Set([
    ...actual.services.map(([, entry]) => entry.id),
    ...actual.backends.map(([key]) => key.service),
  ]);
  const kept = new Set<number>();
  let next = 1;
  return desired.map(({ key }) => {
    const id = own.get(serviceKeyText(key));
    if (id !== undefined && !kept.has(id)) {
      kept.add(id);
      return id;
    }
    while (taken.has(next)) next += 1;
    taken.add(next);
    return next;
  });
}

/** A text of its own for each service. */
export function serviceKeyText(key: ServiceKey): string {
  return `${key.protocol} ${key.address} ${key.port}`;
}

/** A text of its own for each slot. */
export function backendKeyText(key: BackendKey): string {
  return `${key.service} ${key.slot}`;
}

function sameService(a: ServiceEntry, b: ServiceEntry): boolean {
  return (
    a.id === b.id &&
    a.backends === b.backends &&
    a.responseHopLimit === b.responseHopLimit &&
    a.whenNoBackend === b.whenNoBackend &&
    a.drain === b.drain &&
    a.drainEnds === b.drainEnds
  );
}

/** Whether two entries are equal. */
export function sameBackend(a: BackendEntry, b: BackendEntry): boolean {
  if (a.address !== b.address || a.port !== b.port) return false;
  if (a.kind === "fabric" && b.kind === "fabric") return a.source === b.source && a.ifindex === b.ifindex;
  return a.kind === b.kind;
}
