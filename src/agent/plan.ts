import type {
  BackendEntry,
  BackendKey,
  Datapath,
  ServiceEntry,
  ServiceKey,
  WhenNoBackend,
} from "../datapath/types.ts";
import { NS_PER_MS } from "./clock.ts";

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

/** One step of a plan: a write to one map. */
export type Operation =
  | { kind: "set-backend"; key: BackendKey; entry: BackendEntry }
  | { kind: "delete-backend"; key: BackendKey }
  | { kind: "set-service"; key: ServiceKey; entry: ServiceEntry }
  /** Before these services are deleted, by their ids; and those of addresses that no service has any more, which the host opened itself. */
  | { kind: "end-flows"; services: number[]; addresses: string[] }
  | { kind: "delete-service"; key: ServiceKey }
  | { kind: "set-address"; address: string; services: number }
  | { kind: "delete-address"; address: string };

/**
 * The writes that turn `actual` into `desired`, in an order that keeps the datapath right after each of them, since frames
 * come at any time: a slot is filled before a service counts it, a service is there before its address, and what goes, goes
 * the other way round. Equal states give no writes.
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

  const shrink: Operation[] = [];
  const fillSlots: Operation[] = [];
  const setServices: Operation[] = [];
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
    const change = changeService(service, id, found.get(text), (key) =>
      foundBackends.get(backendKeyText(key)),
    );
    shrink.push(...change.shrink);
    fillSlots.push(...change.fillSlots);
    setServices.push(...change.setServices);
  }

  const drainServices: Operation[] = [];
  const drainingIds = new Set<number>();
  const endingFlows: number[] = [];
  const deleteServices: Operation[] = [];
  for (const [key, before] of actual.services) {
    if (wantedServices.has(serviceKeyText(key))) continue;
    const entry = draining(before, now);
    if (!sameService(before, entry)) drainServices.push({ kind: "set-service", key, entry });
    if (entry.drainEnds > now) {
      keepAddress(key);
      drainingIds.add(entry.id);
    } else {
      // An entry that was never filled has none.
      if (entry.id !== 0) endingFlows.push(entry.id);
      deleteServices.push({ kind: "delete-service", key });
    }
  }

  const grownAddresses: Operation[] = [];
  const shrunkAddresses: Operation[] = [];
  for (const [address, services] of wantedAddresses) {
    const before = foundAddresses.get(address) ?? 0;
    const operation: Operation = { kind: "set-address", address, services };
    if (services > before) grownAddresses.push(operation);
    if (services < before) shrunkAddresses.push(operation);
  }
  const goneAddresses = actual.addresses.flatMap(([address]) =>
    wantedAddresses.has(address) ? [] : address,
  );
  const deleteAddresses = goneAddresses.map((address): Operation => ({ kind: "delete-address", address }));
  const endFlows: Operation = { kind: "end-flows", services: endingFlows, addresses: goneAddresses };
  const deleteSlots = actual.backends
    .filter(([key]) => !wantedSlots.has(backendKeyText(key)) && !drainingIds.has(key.service))
    .map(([key]): Operation => ({ kind: "delete-backend", key }));

  return [
    ...shrink,
    ...fillSlots,
    ...setServices,
    ...grownAddresses,
    ...drainServices,
    ...shrunkAddresses,
    // In this order: flows without a service or its address would be found by nobody, were the agent killed in between.
    ...(endingFlows.length + goneAddresses.length > 0 ? [endFlows] : []),
    ...deleteAddresses,
    ...deleteServices,
    ...deleteSlots,
  ];
}

/**
 * The writes for one service that the maps have already, in the order of `plan`. What there is beside it costs nothing. Undefined where the maps do
 * not have it, or have it as removed.
 */
export function planChange(desired: DesiredService, tables: ServiceTables): Operation[] | undefined {
  const before = tables.services.get(desired.key);
  if (before === undefined || before.drainEnds !== 0n) return undefined;
  const change = changeService(desired, before.id, before, tables.backends.get);
  const free: Operation[] = [];
  for (let slot = desired.backends.length; slot < before.backends; slot++) {
    free.push({ kind: "delete-backend", key: { service: before.id, slot } });
  }
  return [...change.shrink, ...change.fillSlots, ...change.setServices, ...free];
}

/** The writes for one service under an id: those lists in their order, then what goes may go. */
function changeService(
  desired: DesiredService,
  id: number,
  before: ServiceEntry | undefined,
  backendAt: (key: BackendKey) => BackendEntry | undefined,
): Record<"shrink" | "fillSlots" | "setServices", Operation[]> {
  const { key, backends, ...rest } = desired;
  const entry: ServiceEntry = { id, backends: backends.length, ...rest, drainEnds: 0n };
  const isSame = before !== undefined && sameService(before, entry);
  const change: Operation[] = isSame ? [] : [{ kind: "set-service", key, entry }];
  const shrinks = before !== undefined && before.id === id && before.backends > backends.length;
  return {
    shrink: shrinks ? change : [],
    fillSlots: backends.flatMap((backend, slot): Operation[] => {
      const there = backendAt({ service: id, slot });
      if (there !== undefined && sameBackend(there, backend)) return [];
      return [{ kind: "set-backend", key: { service: id, slot }, entry: backend }];
    }),
    setServices: shrinks ? [] : change,
  };
}

/** The entry of a service that is removed, now or earlier. */
function draining(entry: ServiceEntry, now: bigint): ServiceEntry {
  if (entry.drainEnds !== 0n) return entry;
  return { ...entry, backends: 0, drainEnds: now + BigInt(entry.drain) * NS_PER_MS };
}

/** The maps that hold services. */
export type ServiceTables = Pick<Datapath, "serviceAddresses" | "services" | "backends">;

/** Reads the maps that `plan` compares with. */
export function readServiceMaps(datapath: ServiceTables): ServiceMaps {
  return {
    addresses: datapath.serviceAddresses.entries().map(([address, entry]) => [address, entry.services]),
    services: datapath.services.entries(),
    backends: datapath.backends.entries(),
  };
}

/** Does one write. Throws `DatapathError`. */
export function apply(datapath: ServiceTables & Pick<Datapath, "endFlows">, operation: Operation): void {
  switch (operation.kind) {
    case "set-backend":
      datapath.backends.set(operation.key, operation.entry);
      break;
    case "delete-backend":
      datapath.backends.delete(operation.key);
      break;
    case "set-service":
      datapath.services.set(operation.key, operation.entry);
      break;
    case "end-flows":
      datapath.endFlows([
        ...operation.services.map((service) => ({ service })),
        ...operation.addresses.map((address) => ({ address })),
      ]);
      break;
    case "delete-service":
      datapath.services.delete(operation.key);
      break;
    case "set-address":
      datapath.serviceAddresses.set(operation.address, { services: operation.services });
      break;
    case "delete-address":
      datapath.serviceAddresses.delete(operation.address);
      break;
  }
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
