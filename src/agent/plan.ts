import type {
  BackendEntry,
  BackendKey,
  Datapath,
  ServiceEntry,
  ServiceKey,
  WhenNoBackend,
} from "../datapath/types.ts";

/** What the datapath should do for one service: the backends are those in use, in the order of their slots. */
export interface DesiredService {
  key: ServiceKey;
  /** TTL of what the guest gets back, 1-64. */
  responseHopLimit: number;
  whenNoBackend: WhenNoBackend;
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
  /** `id` is what the entry had: the service's flows end with it. */
  | { kind: "delete-service"; key: ServiceKey; id: number }
  | { kind: "set-address"; address: string; services: number }
  | { kind: "delete-address"; address: string };

/**
 * The writes that turn `actual` into `desired`, in an order that keeps the datapath right after each of them, since frames
 * come at any time: a slot is filled before a service counts it, a service is there before its address, and what goes, goes
 * the other way round. Equal states give no writes.
 *
 * A service that is there already keeps its id. Ids found anywhere in `actual` are not given to another service, so a new
 * service never sees the slots of one that is about to go.
 */
export function plan(desired: readonly DesiredService[], actual: ServiceMaps): Operation[] {
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

  for (const [index, service] of desired.entries()) {
    const text = serviceKeyText(service.key);
    const entry: ServiceEntry = {
      id: ids[index]!,
      backends: service.backends.length,
      responseHopLimit: service.responseHopLimit,
      whenNoBackend: service.whenNoBackend,
    };
    wantedServices.add(text);
    wantedAddresses.set(service.key.address, (wantedAddresses.get(service.key.address) ?? 0) + 1);

    const before = found.get(text);
    if (before === undefined || !sameService(before, entry)) {
      const shrinks = before !== undefined && before.id === entry.id && before.backends > entry.backends;
      (shrinks ? shrink : setServices).push({ kind: "set-service", key: service.key, entry });
    }
    for (const [slot, backend] of service.backends.entries()) {
      const key = { service: entry.id, slot };
      wantedSlots.add(backendKeyText(key));
      const there = foundBackends.get(backendKeyText(key));
      if (there === undefined || !sameBackend(there, backend)) {
        fillSlots.push({ kind: "set-backend", key, entry: backend });
      }
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
  const deleteAddresses = actual.addresses
    .filter(([address]) => !wantedAddresses.has(address))
    .map(([address]): Operation => ({ kind: "delete-address", address }));
  const deleteServices = actual.services
    .filter(([key]) => !wantedServices.has(serviceKeyText(key)))
    .map(([key, { id }]): Operation => ({ kind: "delete-service", key, id }));
  const deleteSlots = actual.backends
    .filter(([key]) => !wantedSlots.has(backendKeyText(key)))
    .map(([key]): Operation => ({ kind: "delete-backend", key }));

  return [
    ...shrink,
    ...fillSlots,
    ...setServices,
    ...grownAddresses,
    ...shrunkAddresses,
    ...deleteAddresses,
    ...deleteServices,
    ...deleteSlots,
  ];
}

/** Reads the maps that `plan` compares with. */
export function readServiceMaps(datapath: Datapath): ServiceMaps {
  return {
    addresses: datapath.serviceAddresses.entries().map(([address, entry]) => [address, entry.services]),
    services: datapath.services.entries(),
    backends: datapath.backends.entries(),
  };
}

/** Does one write. Throws `DatapathError`. */
export function apply(datapath: Datapath, operation: Operation): void {
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
    case "delete-service":
      datapath.services.delete(operation.key);
      datapath.endFlows({ service: operation.id });
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

function serviceKeyText(key: ServiceKey): string {
  return `${key.protocol} ${key.address} ${key.port}`;
}

function backendKeyText(key: BackendKey): string {
  return `${key.service} ${key.slot}`;
}

function sameService(a: ServiceEntry, b: ServiceEntry): boolean {
  return (
    a.id === b.id &&
    a.backends === b.backends &&
    a.responseHopLimit === b.responseHopLimit &&
    a.whenNoBackend === b.whenNoBackend
  );
}

function sameBackend(a: BackendEntry, b: BackendEntry): boolean {
  if (a.address !== b.address || a.port !== b.port) return false;
  if (a.kind === "fabric" && b.kind === "fabric") return a.source === b.source && a.ifindex === b.ifindex;
  return a.kind === b.kind;
}
