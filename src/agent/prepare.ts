/** What the datapath stands on: files, reserved ports, the host device, its settings. */
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Config } from "../config/schema.ts";
import { TIMEOUTS } from "../config/timeouts.ts";
import type { Datapath, Settings } from "../datapath/types.ts";
import { isBpffs } from "../linux/libc.ts";
import type { Rtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { GATEWAY_MAC } from "../packet/address.ts";
import { AgentError } from "./errors.ts";
import { deleteHostDevice, ensureHostDevice, findHostDevice, type HostDevice } from "./host-device.ts";
import { hostAddress } from "./metadata-addresses.ts";
import { formatPortRanges, parsePortRanges, reservePorts, unitePorts } from "./reserved-ports.ts";
import {
  type AgentRecord,
  checkBpffs,
  ensureBpffs,
  makePrivateDir,
  readRecord,
  runtimePaths,
  writeRecord,
} from "./runtime-dir.ts";

/** Kernel setting: ports that the kernel gives to no socket by itself. */
export const RESERVED_PORTS = ["net", "ipv4", "ip_local_reserved_ports"] as const;

/** The flow maps' least capacity: their size is fixed when they are made, and limits may be raised later. */
const MIN_FLOW_CAPACITY = 65_536;

/** Room for the flows of a limit: the smallest power of two that holds them, and no less than `MIN_FLOW_CAPACITY`. */
export function flowCapacity(flows: number): number {
  return Math.max(MIN_FLOW_CAPACITY, 2 ** Math.ceil(Math.log2(flows)));
}

/**
 * Makes what the datapath stands on: bpffs, reserved ports and the host device; noted in the record beforehand. Throws `AgentError` or
 * `SystemError`.
 */
export function prepareHost(config: Config, configFile: string, network: Rtnetlink, log: Logger): HostDevice {
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

/** Writes the settings where they differ. Whether flows are reported is not the configuration's business and stays. */
export function keepSettings(config: Config, datapath: Datapath, { device }: HostDevice): void {
  if (device.mac === undefined) throw new AgentError(`the interface ${device.name} has no MAC address`);
  const before = datapath.settings();
  const [fabricPortMin, fabricPortMax] = config.fabric.ports;
  const settings: Settings = {
    hostDevice: device.ifindex,
    hostMac: device.mac,
    gatewayMac: GATEWAY_MAC,
    fabricPortMin,
    fabricPortMax,
    maxFlows: config.limits.flows,
    maxFlowsPerVif: config.limits.flowsPerInterface,
    ...TIMEOUTS,
    hostServiceAddress: config.services[0]!.address,
    flowEvents: before?.flowEvents ?? false,
  };
  if (!isDeepStrictEqual(before, settings)) datapath.setSettings(settings);
}

/** Puts the host program on the host device and nowhere else. */
export function attachHost(datapath: Datapath, { device }: HostDevice): void {
  datapath.attach("host", device.ifindex);
  for (const { program, ifindex } of datapath.attachments()) {
    if (program === "host" && ifindex !== device.ifindex) datapath.detach("host", ifindex);
  }
}
