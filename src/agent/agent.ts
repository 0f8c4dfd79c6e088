import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { type ConfigResult, formatConfigError } from "../config/load.ts";
import { interfaceMatcher } from "../config/match.ts";
import type { Config, Service } from "../config/schema.ts";
import { openDatapath } from "../datapath/datapath.ts";
import type { Adoption, Datapath } from "../datapath/types.ts";
import { type NetworkEvent, openRtnetlink, type Rtnetlink, watchNetwork } from "../linux/rtnetlink.ts";
import type { MetadataStats } from "../metadata/stats.ts";
import { type AgentInterfaces, createAgentInterfaces } from "./agent-interfaces.ts";
import { watchBackends } from "./backend-watch.ts";
import { changesBetween, needsRestart, withUnchangedParts } from "./changes.ts";
import { messageOf } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import { type FlowList, type FlowWish, listFlows } from "./flows.ts";
import { ensureHostDevice, findHostDevice, type HostDevice } from "./host-device.ts";
import { createInterfaces, type InterfaceState, type Registrations } from "./interfaces.ts";
import { createAgentMetadata, withMetadataBackends } from "./metadata.ts";
import { hostAddress } from "./metadata-addresses.ts";
import { type MetadataDocuments, openMetadataDocuments } from "./metadata-documents.ts";
import type { LookupCounts } from "./names.ts";
import { type AgentPorts, openPorts } from "./ports.ts";
import { attachHost, flowCapacity, keepSettings, prepareHost } from "./prepare.ts";
import { healthProblems, readinessProblems } from "./problems.ts";
import {
  openRegisteredInterfaces,
  readRegistration,
  readStoredRegistration,
  registeredAlready,
} from "./registered-interfaces.ts";
import { lockRuntimeDir, makePrivateDir, runtimePaths } from "./runtime-dir.ts";
import { openMetadataAddresses } from "./saved-metadata-addresses.ts";
import { createServices } from "./services.ts";
import {
  type AgentStatus,
  type ConfigurationStatus,
  drainingStatus,
  type ServiceState,
  type ServiceStatus,
  serviceState,
} from "./status.ts";
import { createStepper, type ReconcileListener } from "./stepper.ts";
import { answerWhy, type WhyAnswer, type WhyQuestion } from "./why-facts.ts";

/** An agent at work. */
export interface Agent {
  readonly version: string;
  /**
   * Takes what was read of the configuration file: a good configuration is applied, differences only; a bad one, or one that needs a restart,
   * changes nothing, and status and log say why. What the host or the datapath refuses of a good one is tried again, as after a start.
   */
  reload(read: ConfigResult): void;
  /** Flows and counters are read of those vifs alone of which `counted` says so; without it, of all. */
  status(options?: { counted?: (vif: string) => boolean }): AgentStatus;
  /** The agent in few words; costs little, however many services there are. */
  summary(): AgentSummary;
  /** Adds to the counters of services and interfaces what flows have carried since, for those who show them; see `Datapath.addCounts`. `status` does. */
  addCounts(): void;
  /** The frames of flows that they count are as of the last `addCounts`, or of two seconds ago. */
  services(): ServiceStatus[];
  /** A page of the flows that are wanted; see `listFlows`. */
  flows(wish: FlowWish & { cursor?: string | undefined; limit: number }): Promise<FlowList>;
  /** Why the agent does not work; empty: it does. */
  health(): string[];
  /** Why not all that is configured is in step; empty: it is. */
  readiness(): string[];
  /** Why a guest does not reach a service. Throws `WhyError`. */
  why(question: WhyQuestion): WhyAnswer;
  readonly interfaces: AgentInterfaces;
  /** How the metadata service stands, and what it did. */
  metadata(): MetadataStats;
  /** Look-ups of the names of backends. */
  lookups(): LookupCounts;
  readonly ports: AgentPorts;
  /** What is said about guests for the builtin metadata service. */
  readonly guestMetadata: Pick<MetadataDocuments, "get" | "set" | "patch" | "remove">;
  readonly events: Pick<Events, "recent" | "subscribe" | "counts">;
  /** Stops following the host and closes all handles. The datapath goes on working. */
  stop(): Promise<void>;
}

/** See `Agent.summary`. */
export interface AgentSummary {
  services: number;
  /** Those that are attached. */
  interfaces: number;
  /** What is wrong with the configuration file as it is now; the one before holds. */
  refused: string | undefined;
}

/** What `startAgent` needs. */
export interface AgentOptions {
  config: Config;
  /** Where the configuration came from, for `onlink status` and `onlink down`. */
  configFile: string;
  version: string;
  log: Logger;
  /** Called once when the agent can no longer follow the host; the datapath goes on as it is. */
  onFailure: (error: Error) => void;
  onReconcile?: ReconcileListener;
}

/**
 * Starts the agent: takes the runtime directory, makes or adopts what is needed on the host, and brings the datapath in
 * step with the configuration. Throws `AgentError`, `DatapathError` or `SystemError`; nothing is touched before the runtime
 * directory is locked, and what was made by then stays for the next start to adopt.
 */
export function startAgent(options: AgentOptions): Agent {
  const { config, configFile, log } = options;
  makePrivateDir(config.agent.runtimeDir);
  const cleanUp: Array<() => void> = [];
  try {
    const lock = lockRuntimeDir(config.agent.runtimeDir);
    cleanUp.push(() => lock.release());
    const network = openRtnetlink();
    cleanUp.push(() => network.close());
    const device = prepareHost(config, configFile, network, log);
    const datapath = openDatapath({
      pinDir: runtimePaths(config.agent.runtimeDir).pins,
      attach: config.agent.attach,
      flowCapacity: flowCapacity(config.limits.flows),
    });
    cleanUp.push(() => datapath.close());
    if (datapath.adopted) log.info(datapath.adopted, adoptionMessage(datapath.adopted));
    keepSettings(config, datapath, device);
    attachHost(datapath, device);
    return follow(options, network, datapath, device, () => runAll(cleanUp));
  } catch (error) {
    runAll(cleanUp);
    throw error;
  }
}

function adoptionMessage({ carried, replaced }: Adoption): string {
  return carried.length + replaced.length === 0
    ? "datapath of an earlier agent adopted"
    : "datapath of another version or size adopted; the maps that differ were made anew";
}

/** Brings services and interfaces in step, and keeps them so while the host changes. */
function follow(
  options: AgentOptions,
  network: Rtnetlink,
  datapath: Datapath,
  foundHost: HostDevice,
  close: () => void,
): Agent {
  const { configFile, version, log, onFailure, onReconcile = () => {} } = options;
  let { config } = options;
  let host = foundHost;
  const { stateDir } = config.agent;
  const { addresses, save } = openMetadataAddresses(stateDir, config.agent.metadataAddresses);
  const registered = openRegisteredInterfaces(stateDir, log);
  const ports = openPorts({
    stateDir,
    readRule: (name, content, isStored) => {
      if (isStored) return readStoredRegistration(name, content);
      if (registered.get(name) === undefined) return readRegistration(name, content, config, configFile);
      throw registeredAlready(name);
    },
    onChange: (name) => interfaces.registrationChanged(name),
    log,
  });
  const registrations: Registrations = {
    get: (name) => registered.get(name) ?? ports.get(name),
    names: () => [...registered.names(), ...ports.names()],
  };
  const interfaces = createInterfaces({
    config,
    registrations,
    network,
    datapath,
    addresses,
    saveAddresses: save,
    log,
  });
  const guestMetadata = openMetadataDocuments({
    stateDir,
    directory: config.metadata.builtin.directory,
    configured: (key) => {
      const ruleOf = interfaceMatcher(config, (name) => registrations.get(name)?.rule);
      return (ruleOf(key) ?? config.interfaces.find(({ instanceId }) => instanceId === key))?.metadata;
    },
    log,
  });
  const own = new Set([host.device.ifindex, host.peer.ifindex]);
  const metadata = createAgentMetadata({
    config,
    guestOf: interfaces.guestOf,
    source: guestMetadata,
    log,
  });
  const stepper = createStepper(
    [
      keepHostDevice,
      () => keepSettings(config, datapath, host),
      () => services.reconcile(),
      () => (isBehind ? readInterfaces() : interfaces.retry()),
    ],
    { onReconcile, log },
  );
  const backends = watchBackends(config, update, log);
  const services = createServices({
    config: withMetadataBackends(config),
    network,
    datapath,
    names: backends.names,
    health: backends.health,
    own,
    onFabric: interfaces.setFabric,
    reconcileIn: stepper.after,
    log,
  });

  /** Somebody may have deleted the device, or put another of its name in its place. */
  function keepHostDevice(): void {
    const { runtimeDir, device: name, metadataAddresses } = config.agent;
    const found = findHostDevice(network, name, runtimeDir);
    if (found !== undefined && own.has(found.device.ifindex) && own.has(found.peer.ifindex)) return;
    host = ensureHostDevice(network, { name, runtimeDir, ...hostAddress(metadataAddresses) });
    own.clear();
    own.add(host.device.ifindex).add(host.peer.ifindex);
    keepSettings(config, datapath, host);
    attachHost(datapath, host);
    log.warn({ device: name }, "the host device was gone; made anew");
  }

  function update(which: (service: Service) => boolean): void {
    stepper.take("backend", () => services.update(which));
  }
  /** Whether events were lost, or not followed to their end: then all interfaces have to be read anew. */
  let isBehind = false;
  function readInterfaces(): void {
    isBehind = true;
    // Throws while interfaces change faster than they can be read, too; the look after the last event then succeeds.
    interfaces.reset(network.links());
    isBehind = false;
  }
  function onEvents(events: NetworkEvent[]): void {
    stepper.take("host", () => {
      if (events.some(({ kind }) => kind === "overrun")) {
        log.warn("network events were lost; reading everything anew");
        services.forgetAttachments();
        readInterfaces();
        return;
      }
      // One that comes back, with the same ifindex or another, comes without the program.
      for (const event of events) if (event.kind === "link-gone") services.forgetAttachments(event.ifindex);
      if (isBehind) return;
      isBehind = true;
      interfaces.handle(events);
      isBehind = false;
    });
    // Whatever the events are: a link that goes down takes its IPv4 routes along, and the kernel says nothing of them.
    stepper.soon();
  }

  let configuration: ConfigurationStatus = { file: configFile, loaded: new Date().toISOString() };
  function refuse(errors: string[]): void {
    if (isDeepStrictEqual(errors, configuration.errors)) return;
    configuration = { ...configuration, errors };
    for (const error of errors) log.error({ error }, "configuration refused; the one before holds");
  }

  let followed = true;
  // Watching starts before the lists are read, so that no change falls between.
  const watcher = watchNetwork(onEvents, (error) => {
    followed = false;
    onFailure(error);
  });
  const started = performance.now();
  try {
    services.reconcile();
    interfaces.reset(network.links());
  } catch (error) {
    stepper.close();
    metadata.close();
    backends.close();
    guestMetadata.close();
    watcher.close().catch((late: unknown) => log.error({ reason: messageOf(late) }, "cannot stop watching"));
    throw error;
  }
  onReconcile("start", (performance.now() - started) / 1000, 0);
  const events = createEvents({ datapath, nameOf: interfaces.nameOf, log });
  const since = new Date().toISOString();

  const serviceStates = () => services.list().map(serviceState);
  const serviceStatuses = () => {
    const traffic = services.traffic();
    return serviceStates().map((state) => ({ ...state, traffic: traffic.get(state.name)! }));
  };
  const readiness = (
    serviceList: readonly ServiceState[] = serviceStates(),
    interfaceList: readonly InterfaceState[] = interfaces.list(),
  ) =>
    readinessProblems({
      configuration,
      failures: stepper.failures(),
      services: serviceList,
      interfaces: interfaceList,
      fabric: services.fabric(),
      metadata: metadata.stats().listening,
      guestFiles: guestMetadata.problems(),
    });
  const agentInterfaces = createAgentInterfaces({
    interfaces,
    registered,
    ports,
    datapath,
    config: () => config,
    configFile,
  });

  return {
    version,
    events,
    interfaces: agentInterfaces,
    metadata: metadata.stats,
    ports,
    guestMetadata,
    reload(read) {
      if (!read.ok) return refuse(read.errors.map(formatConfigError));
      const next = withUnchangedParts(config, read.config);
      const obstacles = needsRestart(config, next);
      if (obstacles.length > 0) return refuse(obstacles);
      const problems = metadata.configure(next);
      if (problems.length > 0) return refuse(problems);
      const changes = changesBetween(config, next);
      if (changes === undefined && configuration.errors === undefined) return;
      log.info(
        changes ?? {},
        changes ? "configuration changed" : "configuration right again, nothing changed",
      );
      configuration = { file: configFile, loaded: new Date().toISOString() };
      config = next;
      stepper.take(
        "reload",
        () => keepSettings(config, datapath, host),
        () => services.configure(withMetadataBackends(config)),
        () => interfaces.configure(config),
        () => guestMetadata.configure(config.metadata.builtin.directory),
      );
    },
    summary: () => ({
      services: config.services.length,
      interfaces: interfaces.list().filter(({ state }) => state === "attached").length,
      refused: configuration.errors?.[0],
    }),
    addCounts: datapath.addCounts,
    services: serviceStatuses,
    lookups: backends.names.lookups,
    flows: (wish) => listFlows({ datapath, services: config.services, nameOf: interfaces.nameOf }, wish),
    health: () => {
      const { device, runtimeDir } = config.agent;
      return healthProblems({ datapath, network, device, runtimeDir, followed });
    },
    readiness: () => readiness(),
    why: (question) =>
      answerWhy(question, {
        interfaces,
        network,
        datapath,
        services: serviceStatuses(),
        metadata: {
          services: config.services.flatMap(({ kind, name }) => (kind === "metadata" ? [name] : [])),
          guests: metadata.stats().guests,
        },
        recent: events.recent(),
        limits: config.limits,
        now: process.hrtime.bigint(),
      }),
    status({ counted } = {}) {
      datapath.addCounts();
      const [serviceList, interfaceList] = [serviceStatuses(), agentInterfaces.list(counted)];
      return {
        version,
        pid: process.pid,
        since,
        configuration,
        attach: datapath.how,
        device: { name: config.agent.device, address: hostAddress(config.agent.metadataAddresses).address },
        services: serviceList,
        draining: services.draining().map(drainingStatus),
        interfaces: interfaceList,
        fabric: services.fabric(),
        flows: {
          now: datapath.flowCount(),
          limit: config.limits.flows,
          limitPerInterface: config.limits.flowsPerInterface,
        },
        counters: datapath.counters(),
        eventsLost: events.lost(),
        problems: readiness(serviceList, interfaceList),
      };
    },
    async stop() {
      stepper.close();
      backends.close();
      ports.close();
      events.close();
      metadata.close();
      guestMetadata.close();
      await watcher.close();
      close();
    },
  };
}

/** Last made, first undone. */
function runAll(steps: Array<() => void>): void {
  for (const step of steps.reverse()) step();
}
