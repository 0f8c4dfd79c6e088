import { existsSync, rmSync } from "node:fs";
import type { Config } from "../config/schema.ts";
import { removeDatapath } from "../datapath/datapath.ts";
import { isBpffs, unmount } from "../linux/libc.ts";
import { openRtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { isSocket, removeFile, removeFolderIfEmpty } from "./files.ts";
import { deleteHostDevice, devicesOf } from "./host-device.ts";
import { removeJsonFolder } from "./json-folder.ts";
import { metadataDocumentsDir } from "./metadata-documents.ts";
import { metadataKeyFile } from "./metadata-key.ts";
import { portsDir } from "./ports.ts";
import { RESERVED_PORTS } from "./prepare.ts";
import { registrationsDir } from "./registered-interfaces.ts";
import { formatPortRanges, type PortRange, parsePortRanges, subtractPorts } from "./reserved-ports.ts";
import { type AgentRecord, lockRuntimeDir, readRecord, runtimePaths } from "./runtime-dir.ts";
import { healthFile } from "./saved-health.ts";
import { metadataAddressFile } from "./saved-metadata-addresses.ts";
import { namesFile } from "./saved-names.ts";

/** What tells what an agent made when its record is lost. */
export type Fallback = Pick<Config["agent"], "device" | "stateDir"> & {
  socket: string;
  ports: PortRange;
};

/**
 * Takes away everything that agents with this runtime directory made, also one whose start was cut short; works from the record
 * they left, and where there is none from `fallback`. Returns what was removed, one line each; nothing when there was nothing.
 * Throws `AgentError` while an agent runs there. Can be repeated after an error: the record goes last.
 */
export function takeDown(runtimeDir: string, fallback?: Fallback): string[] {
  const paths = runtimePaths(runtimeDir);
  // Not made for the lock alone: where it is gone, an agent that still runs cannot be found by it.
  const lock = existsSync(runtimeDir) ? lockRuntimeDir(runtimeDir) : undefined;
  try {
    const record = readRecord(runtimeDir);
    const removed: string[] = [];
    if (isBpffs(paths.pins)) {
      removeDatapath(paths.pins);
      removed.push(`datapath: programs, links and maps pinned in ${paths.pins}`);
    }
    removed.push(...takeOutside(runtimeDir, record, fallback));
    if (record?.bpffs !== "found" && isBpffs(paths.pins)) {
      unmount(paths.pins);
      removed.push(`mount of bpffs on ${paths.pins}`);
    }
    removeFolderIfEmpty(paths.pins);
    removeFile(paths.record);
    rmSync(paths.lock, { force: true });
    if (removeFolderIfEmpty(runtimeDir)) removed.push(`directory ${runtimeDir}`);
    return removed;
  } finally {
    lock?.release();
  }
}

/** Gives back what lies outside the runtime directory. */
function takeOutside(
  runtimeDir: string,
  record: AgentRecord | undefined,
  fallback: Fallback | undefined,
): string[] {
  const removed = removeDevices(runtimeDir, record?.devices ?? (fallback ? [fallback.device] : []));
  // Without a record, somebody else may have reserved the same ports: they are taken to be ours where the device was.
  const lostPorts = fallback !== undefined && removed.length > 0 ? [fallback.ports] : [];
  removed.push(...giveBackPorts(record?.reservedPorts ?? lostPorts));
  for (const socket of record?.sockets ?? (fallback ? [fallback.socket] : [])) {
    if (isSocket(socket)) rmSync(socket);
  }
  for (const stateDir of record?.stateDirs ?? (fallback ? [fallback.stateDir] : [])) {
    const files = [
      [metadataAddressFile(stateDir), "metadata addresses"],
      [namesFile(stateDir), "addresses of names"],
      [healthFile(stateDir), "health of backends"],
      [metadataKeyFile(stateDir), "key of metadata tokens"],
    ] as const;
    for (const [file, what] of files) {
      if (removeFile(file)) removed.push(`${what} in ${file}`);
    }
    const folders = [
      [registrationsDir(stateDir), "registered interfaces"],
      [portsDir(stateDir), "ports"],
      [metadataDocumentsDir(stateDir), "metadata of guests"],
    ] as const;
    for (const [folder, what] of folders) {
      if (removeJsonFolder(folder)) removed.push(`${what} in ${folder}`);
    }
    if (removeFolderIfEmpty(stateDir)) removed.push(`directory ${stateDir}`);
  }
  return removed;
}

function removeDevices(runtimeDir: string, names: readonly string[]): string[] {
  const network = openRtnetlink();
  try {
    return [...new Set([...names, ...devicesOf(network, runtimeDir)])]
      .filter((name) => deleteHostDevice(network, name, runtimeDir))
      .map((name) => `device ${name}`);
  } finally {
    network.close();
  }
}

function giveBackPorts(ours: readonly PortRange[]): string[] {
  const reserved = parsePortRanges(readSysctl(RESERVED_PORTS) ?? "");
  const left = subtractPorts(reserved, ours);
  if (formatPortRanges(left) === formatPortRanges(reserved)) return [];
  writeSysctl(RESERVED_PORTS, formatPortRanges(left));
  return [`reserved ports ${formatPortRanges(ours).trim()}`];
}
