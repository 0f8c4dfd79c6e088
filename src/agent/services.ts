import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { formatDuration } from "../config/duration.ts";
import type { Config, Service } from "../config/schema.ts";
import type { Datapath, ServiceKey } from "../datapath/types.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import { ARPHRD_ETHER, type ResolvedBackend, type ResolveOptions, resolveBackend } from "./backends.ts";
import { NS_PER_MS } from "./clock.ts";
import { messageOf } from "./errors.ts";
import { mirror } from "./mirror.ts";
import { apply, backendKeyText, type DesiredService, plan, readServiceMaps, serviceKeyText } from "./plan.ts";

/** A service of the configuration with the way to each of its backends. */
export interface ResolvedService {
  service: Service;
  backends: Array<{ address: string; port: number; resolved: ResolvedBackend }>;
}

/** How a fabric interface stands. `waiting`: named in the configuration and not there. */
export type FabricState =
  | { name: string; state: "attached"; ifindex: number }
  | { name: string; state: "failed"; ifindex: number; reason: string }
  | { name: string; state: "waiting" };

/** A service that is removed; the flows that it has left end at `ends` (CLOCK_MONOTONIC, ns). */
export interface DrainingService {
  key: ServiceKey;
  ends: bigint;
}

/** Keeps the datapath's services, backends and fabric attachments in step with the configuration and the host's routes. */
export interface Services {
  /** Takes a new configuration, and reconciles. */
  configure(config: ServicesConfig): void;
  /**
   * Finds the way to every backend anew and writes what differs. An interface to which no backend leads any more keeps its program as
   * long as flows go through it: a flow stays with its backend, and its answers still come in there. Throws when netlink or the
   * datapath fails.
   */
  reconcile(): void;
  /** Forgets that an interface, or any, was attached, so that the next `reconcile` makes sure of it. */
  forgetAttachments(ifindex?: number): void;
  /** The services that are removed and whose flows have not ended yet. */
  draining(): DrainingService[];
  list(): ResolvedService[];
  fabric(): FabricState[];
}

/** The sections of the configuration that say what the services are and how their backends are reached. */
export type ServicesConfig = Pick<Config, "services" | "fabric">;

/** What `createServices` works on. */
export interface ServicesOptions {
  config: ServicesConfig;
  network: Pick<Rtnetlink, "routeTo" | "link">;
  datapath: Datapath;
  /** ifindexes of onlink's own device and its peer. */
  own: ReadonlySet<number>;
  /** Told before an interface gets the fabric program and after it lost it: no interface is both vif and fabric. */
  onFabric: (ifindexes: ReadonlySet<number>) => void;
  /** Asked for a `reconcile` in so many ms, when the next drain ends; the last call holds. */
  reconcileIn: (ms: number) => void;
  log: Logger;
}

/** Finds the way to the backends of all services; each address is looked up once. */
export function resolveServices(
  services: readonly Service[],
  network: Pick<Rtnetlink, "routeTo" | "link">,
  options: ResolveOptions,
): ResolvedService[] {
  const known = new Map<string, ResolvedBackend>();
  return services.map((service) => ({
    service,
    backends: service.backends.map(({ address, port }) => {
      const text = `${address}:${port}`;
      const resolved = known.get(text) ?? resolveBackend({ address, port }, network, options);
      known.set(text, resolved);
      return { address, port, resolved };
    }),
  }));
}

/** What the datapath should hold: a service for each protocol, with the backends that are in use. */
export function desiredServices(services: readonly ResolvedService[]): DesiredService[] {
  return services.flatMap(({ service, backends }) =>
    service.protocol.map((protocol) => ({
      key: { address: service.address, port: service.port, protocol },
      responseHopLimit: service.responseHopLimit,
      whenNoBackend: service.whenNoBackend,
      drain: service.drain,
      backends: backends.flatMap(({ resolved }) => (resolved.inUse ? [resolved.entry] : [])),
    })),
  );
}

/** See `Services`. */
export function createServices(options: ServicesOptions): Services {
  const { network, datapath, own, onFabric, reconcileIn, log } = options;
  let { config } = options;
  const tables = {
    serviceAddresses: mirror(datapath.serviceAddresses, (address) => address),
    services: mirror(datapath.services, serviceKeyText),
    backends: mirror(datapath.backends, backendKeyText),
    endFlows: datapath.endFlows,
  };
  let services: ResolvedService[] = [];
  let fabric: FabricState[] = [];
  const attached = new Set<number>();
  /** Attached for their flows alone. */
  let kept: ReadonlySet<number> = new Set();

  /** The interfaces that lead to backends, and those that the configuration names. */
  function wantedFabric(): FabricState[] {
    const wanted = new Map<string, FabricState>();
    for (const name of config.fabric.interfaces === "auto" ? [] : config.fabric.interfaces) {
      const link = network.link(name);
      if (link === undefined) wanted.set(name, { name, state: "waiting" });
      else if (link.hardware !== ARPHRD_ETHER) {
        wanted.set(name, { name, state: "failed", ifindex: link.ifindex, reason: "it is not Ethernet" });
      } else wanted.set(name, { name, state: "attached", ifindex: link.ifindex });
    }
    for (const { resolved } of services.flatMap(({ backends }) => backends)) {
      if (!resolved.inUse || resolved.entry.kind !== "fabric") continue;
      const name = resolved.interface ?? "";
      wanted.set(name, { name, state: "attached", ifindex: resolved.entry.ifindex });
    }
    return [...wanted.values()];
  }

  function attach(state: FabricState): FabricState {
    if (state.state !== "attached" || attached.has(state.ifindex)) return state;
    try {
      datapath.attach("fabric", state.ifindex);
      log.info({ interface: state.name, ifindex: state.ifindex }, "fabric interface attached");
      return state;
    } catch (error) {
      const reason = messageOf(error);
      log.error({ interface: state.name, ifindex: state.ifindex, reason }, "fabric interface failed");
      return { ...state, state: "failed", reason };
    }
  }

  /** Those of some interfaces that are there and have flows. */
  function withFlows(ifindexes: readonly number[]): Set<number> {
    return new Set(
      ifindexes.filter((ifindex) => network.link(ifindex) !== undefined && datapath.hasFlows({ ifindex })),
    );
  }

  function keep(ifindex: number): void {
    if (attached.has(ifindex)) return;
    datapath.attach("fabric", ifindex);
    attached.add(ifindex);
  }

  /** A backend behind an interface without our program would answer into nowhere. */
  function withoutFailed(resolved: ResolvedBackend, failed: ReadonlyMap<number, string>): ResolvedBackend {
    if (!resolved.inUse || resolved.entry.kind !== "fabric") return resolved;
    const reason = failed.get(resolved.entry.ifindex);
    return reason === undefined ? resolved : { inUse: false, reason: `${resolved.interface}: ${reason}` };
  }

  function draining(): DrainingService[] {
    return tables.services
      .entries()
      .filter(([, { drainEnds }]) => drainEnds !== 0n)
      .map(([key, { drainEnds }]) => ({ key, ends: drainEnds }));
  }

  function writeServices(): void {
    const now = process.hrtime.bigint();
    for (const operation of plan(desiredServices(services), readServiceMaps(tables), now)) {
      apply(tables, operation);
      if (operation.kind === "delete-service") log.info({ ...operation.key }, "removed service drained");
      if (operation.kind === "set-service" && operation.entry.drainEnds !== 0n) {
        const drain = formatDuration(operation.entry.drain);
        log.info({ ...operation.key, drain }, "service removed; flows that it has go on until it is drained");
      }
    }
    const ends = draining().map((one) => Number((one.ends - now) / NS_PER_MS));
    if (ends.length > 0) reconcileIn(Math.max(0, Math.min(...ends)) + 1);
  }

  function reconcile(): void {
    const before = services;
    const { sourceAddress } = config.fabric;
    services = resolveServices(config.services, network, {
      own,
      sourceAddress: sourceAddress === "auto" ? undefined : sourceAddress,
    });
    const wanted = wantedFabric();
    const wantedIndexes = new Set(wanted.flatMap((s) => (s.state === "attached" ? [s.ifindex] : [])));
    const attachedBefore = datapath
      .attachments()
      .filter(({ program }) => program === "fabric")
      .map(({ ifindex }) => ifindex);

    onFabric(new Set([...attachedBefore, ...wantedIndexes]));
    fabric = wanted.map(attach);
    for (const { state, ifindex } of fabric.flatMap((s) => (s.state === "waiting" ? [] : [s]))) {
      if (state === "attached") attached.add(ifindex);
      else attached.delete(ifindex);
    }
    const failed = new Map(fabric.flatMap((s) => (s.state === "failed" ? [[s.ifindex, s.reason]] : [])));
    services = services.map(({ service, backends }) => ({
      service,
      backends: backends.map((b) => ({ ...b, resolved: withoutFailed(b.resolved, failed) })),
    }));

    writeServices();
    const unwanted = attachedBefore.filter((ifindex) => !wantedIndexes.has(ifindex));
    const keptBefore = kept;
    kept = withFlows(unwanted);
    for (const ifindex of unwanted) {
      if (kept.has(ifindex)) {
        keep(ifindex);
        if (!keptBefore.has(ifindex)) log.info({ ifindex }, "fabric interface kept for its flows");
        continue;
      }
      datapath.detach("fabric", ifindex);
      attached.delete(ifindex);
      log.info({ ifindex }, "fabric interface detached");
    }
    onFabric(new Set([...wantedIndexes, ...kept]));
    logBackends(before, services, log);
  }

  return {
    configure(next) {
      config = next;
      reconcile();
    },
    reconcile,
    forgetAttachments(ifindex) {
      if (ifindex === undefined) attached.clear();
      else attached.delete(ifindex);
    },
    draining,
    list: () => services,
    fabric: () => fabric,
  };
}

/** Logs the backends whose state is not what it was. */
function logBackends(before: readonly ResolvedService[], now: readonly ResolvedService[], log: Logger): void {
  const states = new Map<string, ResolvedBackend>(
    before.flatMap(({ service, backends }) =>
      backends.map((b) => [`${service.name} ${b.address}:${b.port}`, b.resolved] as const),
    ),
  );
  for (const { service, backends } of now) {
    for (const { address, port, resolved } of backends) {
      const about = { service: service.name, backend: `${address}:${port}` };
      if (isDeepStrictEqual(states.get(`${about.service} ${about.backend}`), resolved)) continue;
      if (!resolved.inUse) log.warn({ ...about, reason: resolved.reason }, "backend out of use");
      else log.info({ ...about, kind: resolved.entry.kind, interface: resolved.interface }, "backend in use");
    }
  }
}
