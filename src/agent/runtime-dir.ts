import { mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isBpffs, lockFile, mountBpffs } from "../linux/libc.ts";
import { AgentError, messageOf } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";
import type { PortRange } from "./reserved-ports.ts";

/** What lies in an agent's runtime directory. */
export interface RuntimePaths {
  /** Locked while an agent (or `onlink down`) works here; holds its pid. */
  lock: string;
  /** What the agent made, see `AgentRecord`. */
  record: string;
  /** A bpffs; the datapath is pinned in it. */
  pins: string;
}

/** The paths in a runtime directory. */
export function runtimePaths(runtimeDir: string): RuntimePaths {
  return {
    lock: join(runtimeDir, "lock"),
    record: join(runtimeDir, "agent.json"),
    pins: join(runtimeDir, "bpf"),
  };
}

/**
 * What the agents of a runtime directory made outside it, written before they make it: `onlink down` works from this. An item is struck out
 * only once it is gone, so of a changed configuration both the old and the new are here.
 */
export interface AgentRecord {
  configFile: string;
  devices: string[];
  stateDirs: string[];
  sockets: string[];
  /** What the agent added to net.ipv4.ip_local_reserved_ports. */
  reservedPorts: PortRange[];
  /** Whether the bpffs is the agent's own mount, or was there before. */
  bpffs: "mounted" | "found";
}

/** Makes a directory (and those above it) for the owner alone. Throws `AgentError`. */
export function makePrivateDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new AgentError(`cannot make the directory ${path}: ${messageOf(error)}`);
  }
}

/**
 * Takes the runtime directory for this process. Throws `AgentError` with the holder's pid when somebody else has it. The
 * kernel gives the lock back when the process ends, whatever way it ends.
 */
export function lockRuntimeDir(runtimeDir: string): { release(): void } {
  const { lock } = runtimePaths(runtimeDir);
  const held = lockFile(lock);
  if (held === undefined) {
    const pid = readFileIfThere(lock)?.trim();
    throw new AgentError(
      `another onlink agent${pid ? ` (pid ${pid})` : ""} works in ${runtimeDir}; stop it first, or give this one another agent.runtimeDir, agent.stateDir, agent.device and agent.metadataAddresses`,
    );
  }
  writeFileSync(lock, `${process.pid}\n`);
  return held;
}

/** Reads what agents in this directory made; undefined when there was none. Throws `AgentError` when the record is damaged. */
export function readRecord(runtimeDir: string): AgentRecord | undefined {
  const file = runtimePaths(runtimeDir).record;
  const text = readFileIfThere(file);
  if (text === undefined) return undefined;
  try {
    return parseRecord(text);
  } catch (error) {
    throw new AgentError(
      `${file} is damaged (${messageOf(error)}); delete it: \`onlink run\` writes it anew, and \`onlink down\` then goes by the configuration`,
    );
  }
}

/** Reads the text of a record. Throws on anything else. */
export function parseRecord(text: string): AgentRecord {
  const record: Partial<Record<keyof AgentRecord, unknown>> | null = JSON.parse(text);
  const isText = (value: unknown) => typeof value === "string";
  const isRange = (value: unknown) =>
    Array.isArray(value) && value.length === 2 && value.every(Number.isInteger);
  const isListOf = (value: unknown, isItem: (item: unknown) => boolean) =>
    Array.isArray(value) && value.every(isItem);
  const isRecord =
    isText(record?.configFile) &&
    [record.devices, record.stateDirs, record.sockets].every((list) => isListOf(list, isText)) &&
    isListOf(record.reservedPorts, isRange) &&
    (record.bpffs === "mounted" || record.bpffs === "found");
  if (!isRecord) throw new Error("not a record of onlink");
  return record as AgentRecord;
}

/** Writes what this agent is about to make. */
export function writeRecord(runtimeDir: string, record: AgentRecord): void {
  writeFileAtomically(runtimePaths(runtimeDir).record, `${JSON.stringify(record, null, 2)}\n`);
}

/** Where an agent has to mount a bpffs; undefined where one is there already. */
export function bpffsToMount(runtimeDir: string): string | undefined {
  const { pins } = runtimePaths(runtimeDir);
  return isBpffs(pins) ? undefined : pins;
}

/** The mount namespaces of this process and of process 1: that of the host, or of the container that this is. */
interface MountNamespaces {
  self: string;
  /** Undefined where this process may not know it: that takes all the capabilities of process 1, or CAP_SYS_PTRACE. */
  host: string | undefined;
}

/**
 * Throws `AgentError` where the bpffs would have to be mounted in a mount namespace that is not the host's, or may be another: it would
 * end with the last process in there, and the datapath with it.
 */
export function checkBpffs(runtimeDir: string, namespaces: () => MountNamespaces = mountNamespaces): void {
  const pins = bpffsToMount(runtimeDir);
  if (pins === undefined) return;
  const { self, host } = namespaces();
  if (self === host) return;
  const where = host === undefined ? "this may be" : "this is";
  throw new AgentError(
    `${where} a private mount namespace: a bpffs mounted here would end with the agent, and the datapath with it; mount one on the host beforehand (mkdir -p ${pins} && mount -t bpf bpf ${pins}), or run onlink in the host's mount namespace, as root with all capabilities`,
  );
}

function mountNamespaces(): MountNamespaces {
  const self = readlinkSync("/proc/self/ns/mnt");
  try {
    return { self, host: readlinkSync("/proc/1/ns/mnt") };
  } catch {
    return { self, host: undefined };
  }
}

/** Mounts a bpffs for the pins where there is none. */
export function ensureBpffs(runtimeDir: string): void {
  const { pins } = runtimePaths(runtimeDir);
  makePrivateDir(pins);
  if (!isBpffs(pins)) mountBpffs(pins, 0o700);
}
