import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Config, Service } from "../config/schema.ts";
import type { BackendEntry, Datapath, ServiceCounters, ServiceKey } from "../datapath/types.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import { apply } from "./apply.ts";
import { type ResolvedBackend, resolveBackend } from "./backends.ts";
import { NS_PER_MS } from "./clock.ts";
import { createFabric, type FabricState } from "./fabric.ts";
import type { Health, HealthState } from "./health.ts";
import { mirror } from "./mirror.ts";
import type { Names } from "./names.ts";
import {
  backendKeyText,
  type DesiredService,
  type Operation,
  plan,
  planChanges,
  readServiceMaps,
  type ServiceTables,
  sameBackend,
  serviceKeyText,
} from "./plan.ts";
import { refusalOf, type Target, targetsOf } from "./targets.ts";

/** A service of the configuration with its backends as they are now. */
export interface ResolvedService {
  service: Service;
  backends: ServiceBackend[];
}

/** Where a backend is, the way to it, and, where it is checked, its health. */
export type ServiceBackend = Target & { resolved: ResolvedBackend; health?: HealthState };

/** A service that is removed; the flows that it has left end at `ends` (CLOCK_MONOTONIC, ns). */
export interface DrainingService {
  key: ServiceKey;
  ends: bigint;
}

/** Keeps the datapath's services, backends and fabric attachments in step with the configuration, names, health and the host's routes. */
export interface Services {
  /** Takes a new configuration, and writes what differs. Where no more differs than how some services are served, the others cost next to nothing. */
  configure(config: ServicesConfig): void;
  /** Finds the way to every backend anew and writes what differs. Throws when netlink or the datapath fails. */
  reconcile(): void;
  /** Does the same for some services, of which a backend's addresses or health have changed. The others cost nothing. */
  update(which: (service: Service) => boolean): void;
  /** Forgets that an interface, or any, was attached, so that the next `reconcile` makes sure of it. */
  forgetAttachments(ifindex?: number): void;
  /** The services that are removed and whose flows have not ended yet. */
  draining(): DrainingService[];
  list(): ResolvedService[];
  /** What the services have been used for, all protocols together, by the name of the service. */
  traffic(): Map<string, ServiceCounters>;
  fabric(): FabricState[];
}

/** The sections of the configuration that say what the services are and how their backends are reached. */
export type ServicesConfig = Pick<Config, "services" | "fabric" | "agent">;

/** What `createServices` works on. */
export interface ServicesOptions {
  config: ServicesConfig;
  network: Pick<Rtnetlink, "routesTo" | "link">;
  datapath: Datapath;
  names: Pick<Names, "follow" | "stateOf">;
  health: Pick<Health, "follow" | "keepOnly" | "stateOf">;
  /** ifindexes of onlink's own device and its peer. */
  own: ReadonlySet<number>;
  /** Told before an interface gets the fabric program and after it lost it: no interface is both vif and fabric. */
  onFabric: (ifindexes: ReadonlySet<number>) => void;
  /** Asked for a `reconcile` in so many ms, when the next drain ends; the last call holds. */
  reconcileIn: (ms: number) => void;
  log: Logger;
}

/** Whether guests are sent to a backend, and which way; or why not, its health counted. */
export function useOf({ resolved, health }: Pick<ServiceBackend, "resolved" | "health">): ResolvedBackend {
  if (!resolved.inUse || health?.state !== "unhealthy") return resolved;
  return { inUse: false, reason: `unhealthy: ${health.error ?? "not yet healthy again"}` };
}

/** What the datapath should hold of a service: one for each protocol, with the backends that are in use. */
export function desiredServices({ service, backends }: ResolvedService): DesiredService[] {
  return service.protocol.map((protocol) => ({
    key: { address: service.address, port: service.port, protocol },
    responseHopLimit: service.responseHopLimit,
    whenNoBackend: service.whenNoBackend,
    drain: service.drain,
    backends: backends.map(useOf).flatMap((use) => (use.inUse ? [use.entry] : [])),
  }));
}

/** See `Services`. */
export function createServices(options: ServicesOptions): Services {
  const { network, datapath, names, health, own, reconcileIn, log } = options;
  let { config } = options;
  let serviceAddresses = addressesOf(config);
  const tables = {
    serviceAddresses: mirror(datapath.serviceAddresses, (address) => address),
    services: mirror(datapath.services, serviceKeyText),
    backends: mirror(datapath.backends, backendKeyText),
    endFlows: datapath.endFlows,
  };
  const fabric = createFabric(options);
  /** By name, in the order of the configuration. */
  let services = new Map<string, ResolvedService>();

  /** The way to any of these addresses; each route and interface is looked up once. */
  function wayFinder(addresses: readonly string[]): (address: string, port: number) => ResolvedBackend {
    const sourceAddress = config.fabric.sourceAddress === "auto" ? undefined : config.fabric.sourceAddress;
    const routes = network.routesTo(sourceAddress === undefined ? addresses : [...addresses, sourceAddress]);
    const seen = { routeTo: (address: string) => routes.get(address), link: once(network.link) };
    return (address, port) => resolveBackend({ address, port }, seen, { own, sourceAddress });
  }

  function resolveServices(some: readonly Service[]): ResolvedService[] {
    const { metadataAddresses } = config.agent;
    const refused = (address: string) => refusalOf(address, { serviceAddresses, metadataAddresses });
    const aimed = some.map((service) => ({
      service,
      targets: targetsOf(service, names.stateOf, refused),
    }));
    const findWay = wayFinder(
      aimed.flatMap(({ targets }) => targets.filter(isAllowed).map(({ address }) => address)),
    );
    return aimed.map(({ service, targets }) => resolveService(service, targets, findWay));
  }

  function resolveService(
    service: Service,
    targets: readonly Target[],
    findWay: ReturnType<typeof wayFinder>,
  ): ResolvedService {
    health.follow(service, targets.filter(isAllowed));
    const backends = targets.map((target): ServiceBackend => {
      if (target.refused !== undefined)
        return { ...target, resolved: { inUse: false, reason: target.refused } };
      const state = health.stateOf(service.name, target);
      return { ...target, resolved: findWay(target.address, target.port), ...(state && { health: state }) };
    });
    return { service, backends };
  }

  /** Does the writes that bring some services in step, and ends the flows to backends that they have no longer. */
  function write(changed: readonly ResolvedService[], operations: readonly Operation[]): void {
    // Of thousands of services, as a rule none or few are other than they were.
    const news = changed.filter((now) => !sameService(now, services.get(now.service.name)));
    const gone = news.flatMap((now) => goneBackends(now, services.get(now.service.name), tables));
    apply(tables, operations, { nameOf, log });
    const ended = datapath.endFlows(
      gone.map(({ id, address, port }) => ({ service: id, backend: { address, port } })),
    );
    for (const [index, { service, address, port }] of gone.entries()) {
      const flows = ended[index]!;
      if (flows === 0) continue;
      log.info({ service, backend: `${address}:${port}`, flows }, "backend gone; its flows ended");
    }
    for (const now of news) logBackends(services.get(now.service.name), now, log);
  }

  function nameOf(key: ServiceKey): string | undefined {
    const isIt = ({ address, port, protocol }: Service) =>
      address === key.address && port === key.port && protocol.includes(key.protocol);
    return config.services.find(isIt)?.name;
  }

  function draining(): DrainingService[] {
    return tables.services
      .entries()
      .filter(([, { drainEnds }]) => drainEnds !== 0n)
      .map(([key, { drainEnds }]) => ({ key, ends: drainEnds }));
  }

  function traffic(): Map<string, ServiceCounters> {
    const counted = datapath.serviceCounters();
    return new Map(
      [...services.values()].map(({ service: { name, address, port, protocol } }) => {
        const ofProtocols = protocol.flatMap((each) => {
          const id = tables.services.get({ address, port, protocol: each })?.id;
          return (id === undefined ? undefined : counted.get(id)) ?? [];
        });
        return [name, ofProtocols.reduce(sumOfCounters, NO_TRAFFIC)];
      }),
    );
  }

  /** With what the last checks said: that alone changes nothing in the datapath. */
  function withHealth({ service, backends }: ResolvedService): ResolvedService {
    return {
      service,
      backends: backends.map((backend) => {
        const state = backend.refused === undefined ? health.stateOf(service.name, backend) : undefined;
        return state === undefined ? backend : { ...backend, health: state };
      }),
    };
  }

  function reconcile(): void {
    names.follow(config.services.flatMap(namesOf));
    health.keepOnly(new Set(config.services.map(({ name }) => name)));
    const found = resolveServices(config.services);
    const failed = fabric.attach(config.fabric.interfaces, interfacesTo(found));
    const now = found.map((service) => withoutFailed(service, failed));
    const time = process.hrtime.bigint();
    write(now, plan(now.flatMap(desiredServices), readServiceMaps(tables), time));
    services = new Map(now.map((one) => [one.service.name, one]));
    const ends = draining().map((one) => Number((one.ends - time) / NS_PER_MS));
    if (ends.length > 0) reconcileIn(Math.max(0, Math.min(...ends)) + 1);
    fabric.release();
  }

  function update(which: (service: Service) => boolean): void {
    const changed = resolveServices(config.services.filter(which));
    const operations = planChanges(changed.flatMap(desiredServices), tables);
    const isAttached = [...interfacesTo(changed).keys()].every(fabric.has);
    if (operations === undefined || !isAttached) {
      reconcile();
      return;
    }
    write(changed, operations);
    for (const one of changed) services.set(one.service.name, one);
  }

  return {
    configure(next) {
      const changed = changedInPlace(config, next);
      config = next;
      serviceAddresses = addressesOf(config);
      if (changed === undefined) {
        reconcile();
        return;
      }
      names.follow(config.services.flatMap(namesOf));
      update(({ name }) => changed.has(name));
    },
    reconcile,
    update,
    forgetAttachments: fabric.forget,
    draining,
    traffic,
    list: () => [...services.values()].map(withHealth),
    fabric: fabric.list,
  };
}

/**
 * The names of the services that differ, where no more differs between two configurations than how some services are served: their keys and
 * all that concerns every service stay. Undefined otherwise.
 */
function changedInPlace(before: ServicesConfig, after: ServicesConfig): Set<string> | undefined {
  if (before.services.length !== after.services.length) return undefined;
  if (!isDeepStrictEqual([before.fabric, before.agent], [after.fabric, after.agent])) return undefined;
  const keyOf = ({ name, address, port, protocol }: Service) => `${name} ${address} ${port} ${protocol}`;
  const changed = new Set<string>();
  for (const [index, service] of after.services.entries()) {
    const old = before.services[index]!;
    if (old === service) continue;
    if (keyOf(old) !== keyOf(service)) return undefined;
    if (!isDeepStrictEqual(old, service)) changed.add(service.name);
  }
  return changed;
}

const NO_TRAFFIC: ServiceCounters = {
  flows: 0n,
  refused: 0n,
  framesOut: 0n,
  bytesOut: 0n,
  framesIn: 0n,
  bytesIn: 0n,
};

function sumOfCounters(a: ServiceCounters, b: ServiceCounters): ServiceCounters {
  return {
    flows: a.flows + b.flows,
    refused: a.refused + b.refused,
    framesOut: a.framesOut + b.framesOut,
    bytesOut: a.bytesOut + b.bytesOut,
    framesIn: a.framesIn + b.framesIn,
    bytesIn: a.bytesIn + b.bytesIn,
  };
}

/** A look-up that is done once for each key. */
function once<K, V>(lookUp: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, lookUp(key));
    return known.get(key)!;
  };
}

function addressesOf({ services }: ServicesConfig): ReadonlySet<string> {
  return new Set(services.map(({ address }) => address));
}

/** The names among the backends of a service. */
export function namesOf({ backends }: Pick<Service, "backends">): string[] {
  return backends.flatMap((backend) => ("name" in backend ? [backend.name] : []));
}

/** The interfaces that lead to fabric backends, healthy or not: name by ifindex. */
function interfacesTo(services: readonly ResolvedService[]): Map<number, string> {
  const interfaces = new Map<number, string>();
  for (const { resolved } of services.flatMap(({ backends }) => backends)) {
    if (resolved.inUse && resolved.entry.kind === "fabric") {
      interfaces.set(resolved.entry.ifindex, resolved.interface ?? "");
    }
  }
  return interfaces;
}

/** A backend behind an interface without our program would answer into nowhere. */
function withoutFailed(
  { service, backends }: ResolvedService,
  failed: ReadonlyMap<number, string>,
): ResolvedService {
  if (failed.size === 0) return { service, backends };
  return {
    service,
    backends: backends.map((backend) => {
      const { resolved } = backend;
      if (!resolved.inUse || resolved.entry.kind !== "fabric") return backend;
      const reason = failed.get(resolved.entry.ifindex);
      if (reason === undefined) return backend;
      return { ...backend, resolved: { inUse: false, reason: `${resolved.interface}: ${reason}` } };
    }),
  };
}

/**
 * The backends that a service had, by what it was before or by what the maps hold, and has no longer: the configuration or the name has others
 * now, or it is unhealthy. One to which there is no way at present is not gone: its flows may go on when the route is back.
 */
function goneBackends(
  now: ResolvedService,
  before: ResolvedService | undefined,
  tables: ServiceTables,
): Array<{ id: number; service: string; address: string; port: number }> {
  const { name, address: serviceAddress, port: servicePort, protocol } = now.service;
  const ids = protocol.flatMap(
    (each) => tables.services.get({ address: serviceAddress, port: servicePort, protocol: each })?.id ?? [],
  );
  // As of each that is new.
  if (ids.length === 0) return [];
  const stay = new Set(now.backends.filter(isWanted).map(placeOf));
  return ids.flatMap((id) => {
    const had = [...slotsOf(id, tables), ...(before?.backends ?? []).filter(isWanted)];
    const gone = new Map(had.filter((one) => !stay.has(placeOf(one))).map((one) => [placeOf(one), one]));
    return [...gone.values()].map(({ address = "", port }) => ({ id, service: name, address, port }));
  });
}

/** Whether a service, which the configuration has left alone, has the very backends that it had. */
function sameService(now: ResolvedService, before: ResolvedService | undefined): boolean {
  return (
    before?.service === now.service &&
    before.backends.length === now.backends.length &&
    before.backends.every((old, index) => sameServiceBackend(old, now.backends[index]!))
  );
}

function sameServiceBackend(a: ServiceBackend, b: ServiceBackend): boolean {
  return (
    a.name === b.name &&
    a.address === b.address &&
    a.port === b.port &&
    a.refused === b.refused &&
    a.health?.state === b.health?.state &&
    (a.resolved.inUse && b.resolved.inUse
      ? a.resolved.interface === b.resolved.interface && sameBackend(a.resolved.entry, b.resolved.entry)
      : isDeepStrictEqual(a.resolved, b.resolved))
  );
}

/** What the slots of a service hold, those too that take no new flows since it drains. */
function slotsOf(service: number, { backends }: Pick<ServiceTables, "backends">): BackendEntry[] {
  const held: BackendEntry[] = [];
  for (let slot = 0; ; slot++) {
    const entry = backends.get({ service, slot });
    if (entry === undefined) return held;
    held.push(entry);
  }
}

/** Whether guests may be sent there. */
function isAllowed(target: Target): target is Extract<Target, { refused?: undefined }> {
  return target.refused === undefined;
}

function isWanted({ refused, health }: ServiceBackend): boolean {
  return refused === undefined && health?.state !== "unhealthy";
}

/** Where a backend is, as text: address or else name, and port. */
function placeOf({
  name,
  address,
  port,
}: {
  name?: string;
  address?: string | undefined;
  port: number;
}): string {
  return `${address ?? name}:${port}`;
}

/** Logs the backends of a service whose state is not what it was. That those of a new service are in use is no news. */
function logBackends(before: ResolvedService | undefined, now: ResolvedService, log: Logger): void {
  const states = new Map(before?.backends.map((backend) => [placeOf(backend), stateForLog(backend)]));
  for (const backend of now.backends) {
    const use = useOf(backend);
    if (before === undefined && use.inUse) continue;
    if (isDeepStrictEqual(states.get(placeOf(backend)), stateForLog(backend))) continue;
    const { name } = backend;
    const about = {
      service: now.service.name,
      backend: placeOf(backend),
      ...(name !== undefined && { name }),
    };
    if (!use.inUse) log.warn({ ...about, reason: use.reason }, "backend out of use");
    else log.info({ ...about, kind: use.entry.kind, interface: use.interface }, "backend in use");
  }
}

/** Of an unhealthy backend, the reason of the last check may change: that is no news. */
function stateForLog({ resolved, health }: ServiceBackend): object {
  return { resolved, health: health?.state };
}
