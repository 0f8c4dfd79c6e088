import { join } from "node:path";
import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import { TIMEOUTS } from "../config/timeouts.ts";
import { openDatapath } from "../datapath/datapath.ts";
import type { Datapath, Settings } from "../datapath/types.ts";
import { isBpffs } from "../linux/libc.ts";
import { type NetworkEvent, openRtnetlink, type Rtnetlink, watchNetwork } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { AgentError, messageOf } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";
import { deleteHostDevice, ensureHostDevice, findHostDevice, type HostDevice } from "./host-device.ts";
import { createInterfaces } from "./interfaces.ts";
import {
  createMetadataAddresses,
  formatSaved,
  hostAddress,
  type MetadataAddresses,
  parseSaved,
} from "./metadata-addresses.ts";
import { formatPortRanges, parsePortRanges, reservePorts, unitePorts } from "./reserved-ports.ts";
import {
  type AgentRecord,
  checkBpffs,
  ensureBpffs,
  lockRuntimeDir,
  makePrivateDir,
  readRecord,
  runtimePaths,
  writeRecord,
} from "./runtime-dir.ts";
import { createServices } from "./services.ts";
import { type AgentStatus, serviceStatus } from "./status.ts";

/** An agent at work. */
export interface Agent {
  status(): AgentStatus;
  readonly events: Pick<Events, "recent" | "subscribe">;
  /** Stops following the host and closes all handles. The datapath goes on working. */
  stop(): Promise<void>;
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
}

/** Kernel setting: ports that the kernel gives to no socket by itself. */
export const RESERVED_PORTS = ["net", "ipv4", "ip_local_reserved_ports"] as const;

/** Where the metadata addresses of interface names are kept. */
export function metadataAddressFile(stateDir: string): string {
  return join(stateDir, "metadata-addresses.json");
}

/** The flow maps' least capacity: their size is fixed when they are made, and limits may be raised later. */
const MIN_FLOW_CAPACITY = 65_536;

/**
 * How often everything is looked at without an event, in ms: for what makes none, such as the last flow of an interface that is kept for
 * its flows, or a disk that has room again.
 */
const LOOK_INTERVAL = 30_000;

/** Changes of routes come in bursts; one look at the routes this many ms after the first of them serves all. */
const RECONCILE_DELAY = 100;

/**
 * Starts the agent: takes the runtime directory, makes or adopts what is needed on the host, and brings the datapath in
 * step with the configuration. Throws `AgentError`, `DatapathError` or `SystemError`; nothing is touched before the runtime
 * directory is locked, and what was made by then stays for the next start to adopt.
 */
export function startAgent(options: AgentOptions): Agent {
  const { config } = options;
  makePrivateDir(config.agent.runtimeDir);
  const cleanUp: Array<() => void> = [];
  try {
    const lock = lockRuntimeDir(config.agent.runtimeDir);
    cleanUp.push(() => lock.release());
    const network = openRtnetlink();
    cleanUp.push(() => network.close());
    const device = prepareHost(options, network);
    const datapath = openDatapath({
      pinDir: runtimePaths(config.agent.runtimeDir).pins,
      attach: config.agent.attach,
      flowCapacity: flowCapacity(config.limits.flows),
    });
    cleanUp.push(() => datapath.close());
    prepareDatapath(config, datapath, device, { flowEvents: false });
    return follow(options, network, datapath, device, () => runAll(cleanUp));
  } catch (error) {
    runAll(cleanUp);
    throw error;
  }
}

/** The smallest power of two that holds the flows, and no less than `MIN_FLOW_CAPACITY`. */
function flowCapacity(flows: number): number {
  return Math.max(MIN_FLOW_CAPACITY, 2 ** Math.ceil(Math.log2(flows)));
}

/** Makes what the datapath stands on: bpffs, reserved ports and the host device; noted in the record beforehand. */
function prepareHost({ config, configFile, log }: AgentOptions, network: Rtnetlink): HostDevice {
  const { runtimeDir, stateDir, device, metadataAddresses } = config.agent;
  const previous = readRecord(runtimeDir);
  // What cannot be is refused before anything is changed.
  findHostDevice(network, device, runtimeDir);
  checkBpffs(runtimeDir);

  const reserved = readSysctl(RESERVED_PORTS) ?? "";
  const ports = reservePorts(parsePortRanges(reserved), previous?.reservedPorts ?? [], [config.fabric.ports]);
  const record: AgentRecord = {
    configFile,
    devices: withItem(previous?.devices, device),
    stateDirs: withItem(previous?.stateDirs, stateDir),
    sockets: withItem(previous?.sockets, config.api.socket),
    reservedPorts: unitePorts(previous?.reservedPorts ?? [], ports.added),
    bpffs: isBpffs(runtimePaths(runtimeDir).pins) ? (previous?.bpffs ?? "found") : "mounted",
  };
  writeRecord(runtimeDir, record);

  makePrivateDir(stateDir);
  ensureBpffs(runtimeDir);
  const list = formatPortRanges(ports.list);
  if (list.trim() !== reserved) writeSysctl(RESERVED_PORTS, list);
  for (const former of record.devices) {
    if (former !== device && deleteHostDevice(network, former, runtimeDir)) {
      log.info({ device: former }, "host device of the former configuration deleted");
    }
  }
  writeRecord(runtimeDir, { ...record, devices: [device], reservedPorts: ports.added });
  return ensureHostDevice(network, { name: device, runtimeDir, ...hostAddress(metadataAddresses) });
}

function withItem(list: readonly string[] = [], item: string): string[] {
  return [...new Set([...list, item])];
}

/** Writes the settings, and puts the host program on the device's peer and nowhere else. */
function prepareDatapath(
  config: Config,
  datapath: Datapath,
  { device, peer }: HostDevice,
  { flowEvents }: Pick<Settings, "flowEvents">,
): void {
  if (device.mac === undefined) throw new AgentError(`the interface ${device.name} has no MAC address`);
  const [fabricPortMin, fabricPortMax] = config.fabric.ports;
  datapath.setSettings({
    hostDevice: device.ifindex,
    hostMac: device.mac,
    gatewayMac: GATEWAY_MAC,
    fabricPortMin,
    fabricPortMax,
    maxFlows: config.limits.flows,
    maxFlowsPerVif: config.limits.flowsPerInterface,
    ...TIMEOUTS,
    hostServiceAddress: config.services[0]!.address,
    flowEvents,
  });
  for (const { program, ifindex } of datapath.attachments()) {
    if (program === "host" && ifindex !== peer.ifindex) datapath.detach("host", ifindex);
  }
  datapath.attach("host", peer.ifindex);
}

/** Brings services and interfaces in step, and keeps them so while the host changes. */
function follow(
  { config, configFile, version, log, onFailure }: AgentOptions,
  network: Rtnetlink,
  datapath: Datapath,
  host: HostDevice,
  close: () => void,
): Agent {
  const addresses = loadMetadataAddresses(config);
  const interfaces = createInterfaces({
    config,
    datapath,
    addresses,
    saveAddresses: () =>
      writeFileAtomically(metadataAddressFile(config.agent.stateDir), formatSaved(addresses.toSave())),
    log,
  });
  const own = new Set([host.device.ifindex, host.peer.ifindex]);
  const services = createServices({
    config,
    network,
    datapath,
    own,
    onFabric: interfaces.setFabric,
    log,
  });

  /** Somebody may have deleted the device, or put another of its name in its place. */
  function keepHostDevice(): void {
    const { runtimeDir, device: name, metadataAddresses } = config.agent;
    const found = findHostDevice(network, name, runtimeDir);
    if (found !== undefined && own.has(found.device.ifindex) && own.has(found.peer.ifindex)) return;
    const made = ensureHostDevice(network, { name, runtimeDir, ...hostAddress(metadataAddresses) });
    own.clear();
    own.add(made.device.ifindex).add(made.peer.ifindex);
    prepareDatapath(config, datapath, made, { flowEvents: datapath.settings()?.flowEvents ?? false });
    log.warn({ device: name }, "the host device was gone; made anew");
  }

  let timer: NodeJS.Timeout | undefined;
  function reconcileSoon(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      guard(keepHostDevice);
      guard(() => services.reconcile());
      guard(interfaces.retry);
    }, RECONCILE_DELAY);
  }
  /** Runs one step; what goes wrong is logged, and the next event tries again. */
  function guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      log.error({ reason: messageOf(error) }, "cannot bring the datapath in step");
    }
  }
  function onEvents(events: NetworkEvent[]): void {
    guard(() => {
      if (events.some(({ kind }) => kind === "overrun")) {
        log.warn("network events were lost; reading everything anew");
        services.forgetAttachments();
        interfaces.reset(network.links());
        reconcileSoon();
        return;
      }
      // One that comes back, with the same ifindex or another, comes without the program.
      for (const event of events) if (event.kind === "link-gone") services.forgetAttachments(event.ifindex);
      interfaces.handle(events);
      // Whatever the events are: a link that goes down takes its IPv4 routes along, and the kernel says nothing of them.
      reconcileSoon();
    });
  }

  // Watching starts before the lists are read, so that no change falls between.
  const watcher = watchNetwork(onEvents, onFailure);
  try {
    services.reconcile();
    interfaces.reset(network.links());
  } catch (error) {
    watcher.close().catch((late: unknown) => log.error({ reason: messageOf(late) }, "cannot stop watching"));
    throw error;
  }
  const events = createEvents({ datapath, nameOf: interfaces.nameOf, log });
  const look = setInterval(reconcileSoon, LOOK_INTERVAL);
  const since = new Date().toISOString();

  return {
    events,
    status: () => ({
      version,
      pid: process.pid,
      since,
      configFile,
      attach: datapath.how,
      device: { name: config.agent.device, address: hostAddress(config.agent.metadataAddresses).address },
      services: services.list().map(serviceStatus),
      interfaces: interfaces.list().map((state) => {
        if (state.state !== "attached") return state;
        const counters = datapath.vifCounters(state.ifindex);
        return { ...state, flows: datapath.flowCount(state.ifindex), ...(counters && { counters }) };
      }),
      fabric: services.fabric(),
      flows: {
        now: datapath.flowCount(),
        limit: config.limits.flows,
        limitPerInterface: config.limits.flowsPerInterface,
      },
      counters: datapath.counters(),
      eventsLost: events.lost(),
    }),
    async stop() {
      clearTimeout(timer);
      clearInterval(look);
      events.close();
      await watcher.close();
      close();
    },
  };
}

/** The saved metadata addresses. A damaged file stops the start: guests' addresses must not change unnoticed. */
function loadMetadataAddresses({ agent }: Config): MetadataAddresses {
  const file = metadataAddressFile(agent.stateDir);
  const text = readFileIfThere(file);
  if (text === undefined) return createMetadataAddresses(agent.metadataAddresses, []);
  try {
    return createMetadataAddresses(agent.metadataAddresses, parseSaved(text));
  } catch (error) {
    throw new AgentError(
      `${file} is damaged (${messageOf(error)}); delete it: running interfaces keep their metadata addresses, others may get new ones`,
    );
  }
}

/** Last made, first undone. */
function runAll(steps: Array<() => void>): void {
  for (const step of steps.reverse()) step();
}
