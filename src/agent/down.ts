import { existsSync, rmSync } from "node:fs";
import { removeDatapath } from "../datapath/datapath.ts";
import { isBpffs, unmount } from "../linux/libc.ts";
import { openRtnetlink } from "../linux/rtnetlink.ts";
import { readSysctl, writeSysctl } from "../linux/sysctl.ts";
import { metadataAddressFile, RESERVED_PORTS } from "./agent.ts";
import { removeFolderIfEmpty } from "./files.ts";
import { deleteHostDevice } from "./host-device.ts";
import { formatPortRanges, parsePortRanges, subtractPorts } from "./reserved-ports.ts";
import { type AgentRecord, lockRuntimeDir, readRecord, runtimePaths } from "./runtime-dir.ts";

/**
 * Takes away everything that an agent with this runtime directory made, also one whose start was cut short; works from
 * the record it left. Returns what was removed, one line each; nothing when there was nothing. Throws `AgentError`
 * while an agent runs there. Can be repeated after an error: the record goes last.
 */
export function takeDown(runtimeDir: string): string[] {
  const paths = runtimePaths(runtimeDir);
  if (![paths.lock, paths.record, paths.pins].some((path) => existsSync(path))) return [];
  const lock = lockRuntimeDir(runtimeDir);
  try {
    const record = readRecord(runtimeDir);
    const removed: string[] = [];
    if (isBpffs(paths.pins)) {
      removeDatapath(paths.pins);
      removed.push(`datapath: programs, links and maps pinned in ${paths.pins}`);
    }
    if (record !== undefined) removed.push(...undoRecord(record));
    if (record?.bpffs === "mounted" && isBpffs(paths.pins)) {
      unmount(paths.pins);
      removed.push(`mount of bpffs on ${paths.pins}`);
    }
    removeFolderIfEmpty(paths.pins);
    rmSync(paths.record, { force: true });
    rmSync(paths.lock, { force: true });
    if (removeFolderIfEmpty(runtimeDir)) removed.push(`directory ${runtimeDir}`);
    return removed;
  } finally {
    lock.release();
  }
}

/** Gives back what lies outside the runtime directory. */
function undoRecord(record: AgentRecord): string[] {
  const removed: string[] = [];
  const network = openRtnetlink();
  try {
    if (deleteHostDevice(network, record.device)) removed.push(`device ${record.device}`);
  } finally {
    network.close();
  }
  const reserved = parsePortRanges(readSysctl(RESERVED_PORTS) ?? "");
  const left = subtractPorts(reserved, record.reservedPorts);
  if (formatPortRanges(left) !== formatPortRanges(reserved)) {
    writeSysctl(RESERVED_PORTS, formatPortRanges(left));
    removed.push(`reserved ports ${formatPortRanges(record.reservedPorts).trim()}`);
  }
  rmSync(record.socket, { force: true });
  const addresses = metadataAddressFile(record.stateDir);
  if (existsSync(addresses)) {
    rmSync(addresses);
    removed.push(`metadata addresses in ${addresses}`);
  }
  if (removeFolderIfEmpty(record.stateDir)) removed.push(`directory ${record.stateDir}`);
  return removed;
}
