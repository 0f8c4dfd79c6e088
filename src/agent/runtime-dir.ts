import { mkdirSync, writeFileSync } from "node:fs";
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

/** What an agent made outside its runtime directory, written before it makes it: `onlink down` works from this alone. */
export interface AgentRecord {
  configFile: string;
  device: string;
  stateDir: string;
  socket: string;
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
      `another onlink agent${pid ? ` (pid ${pid})` : ""} works in ${runtimeDir}; stop it first, or give this one another agent.runtimeDir`,
    );
  }
  writeFileSync(lock, `${process.pid}\n`);
  return held;
}

/** Reads what the last agent in this directory made; undefined when there was none. */
export function readRecord(runtimeDir: string): AgentRecord | undefined {
  const text = readFileIfThere(runtimePaths(runtimeDir).record);
  return text === undefined ? undefined : (JSON.parse(text) as AgentRecord);
}

/** Writes what this agent is about to make. */
export function writeRecord(runtimeDir: string, record: AgentRecord): void {
  writeFileAtomically(runtimePaths(runtimeDir).record, `${JSON.stringify(record, null, 2)}\n`);
}

/** Mounts a bpffs for the pins where there is none. */
export function ensureBpffs(runtimeDir: string): void {
  const { pins } = runtimePaths(runtimeDir);
  makePrivateDir(pins);
  if (!isBpffs(pins)) mountBpffs(pins, 0o700);
}
