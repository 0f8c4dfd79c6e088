import { readFileSync } from "node:fs";
import { messageOf } from "../agent/errors.ts";
import { toJson } from "../api/json.ts";
import { parseConfig } from "../config/load.ts";
import { interfaceMatcher } from "../config/match.ts";
import type { Config } from "../config/schema.ts";
import type { Reason } from "../model/reasons.ts";
import { type Capture, readCapture } from "../packet/pcap.ts";
import { CommandError, DEFAULT_CONFIG, readConfigIfThere } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { type ReplayedPacket, replay, replayState } from "./replay.ts";
import { formatTable } from "./table.ts";

/** What is traced against where there is no configuration. */
const DEFAULT_SERVICE = "169.254.169.254:80";
const DEFAULT_TEXT = `{
  services: [{ name: metadata, address: 169.254.169.254, port: 80, backends: ["127.0.0.1:80"] }],
  interfaces: [{ name: "*" }],
}`;

/** What a capture came to. */
export interface TraceSummary {
  frames: number;
  /** The guest's frames by row and reason, in the order of the table; those that are counted nowhere have no reason. */
  verdicts: Array<{ row?: string; reason?: Reason; frames: number }>;
  /** Frames that the guest did not send. */
  others: number;
  flowsOpened: number;
  /** Why reading ended before the file did. */
  damage?: string;
  /** What it was traced against, where that was not a configuration file. */
  note?: string;
}

/** `onlink trace FILE`: what the datapath would do with each frame of a capture. */
export async function trace(
  file: string,
  options: { config?: string; interface?: string; json?: boolean },
): Promise<number> {
  const { config, note } = configFor(options.config);
  const rule = options.interface === undefined ? undefined : ruleFor(config, options.interface);
  const { packets, damage } = readFile(file);
  const summary = newSummary();
  for (const packet of replay(replayState(config, rule), packets)) {
    addTo(summary, packet);
    process.stdout.write(options.json ? `${toJson(packet)}\n` : formatPacket(packet));
  }
  if (damage !== undefined) summary.damage = damage.message;
  if (note !== undefined) summary.note = note;
  process.stdout.write(options.json ? `${JSON.stringify({ summary })}\n` : formatSummary(summary));
  return EXIT.ok;
}

function configFor(file: string | undefined): { config: Config; note?: string } {
  const config = readConfigIfThere(file, "or name another configuration: onlink trace FILE --config FILE");
  if (config !== undefined) return { config };
  const standIn = parseConfig(DEFAULT_TEXT, "default");
  if (!standIn.ok) throw new Error(standIn.errors.map(({ message }) => message).join("; "));
  const note = `no ${DEFAULT_CONFIG} and no --config: taken to be one service, ${DEFAULT_SERVICE} over TCP`;
  return { config: standIn.config, note };
}

function ruleFor(config: Config, name: string) {
  const rule = interfaceMatcher(config)(name);
  if (rule !== undefined) return rule;
  throw new CommandError(
    `onlink trace: no entry of interfaces in the configuration fits ${name}; give the name of a vif`,
    EXIT.badInput,
  );
}

function readFile(file: string): Capture {
  let bytes: Uint8Array;
  try {
    // Not the Buffer itself: the slices of one are views, and who copies a frame by slice would change the file's bytes.
    const { buffer, byteOffset, length } = readFileSync(file);
    bytes = new Uint8Array(buffer, byteOffset, length);
  } catch (error) {
    throw new CommandError(`cannot read ${file}: ${messageOf(error)}`, EXIT.failed);
  }
  const capture = readCapture(bytes);
  if (!capture.ok) {
    const mend = "give a capture as tcpdump, Wireshark or pktmon write it (pcap or pcapng)";
    throw new CommandError(`${file} is no capture: ${capture.error.message}; ${mend}`, EXIT.failed);
  }
  return capture.value;
}

/** Two lines: number, time in seconds and the frame; what becomes of it. */
export function formatPacket({ number, time, length, captured, frame, sentence }: ReplayedPacket): string {
  const seconds = time === undefined ? "-" : (Number(time) / 1e9).toFixed(6);
  const part = captured < length ? ` (${captured} of ${length} bytes captured)` : "";
  return `${String(number).padStart(5)} ${seconds.padStart(12)}  ${frame}${part}\n${" ".repeat(20)}${sentence}\n`;
}

/** A summary without anything in it. */
export function newSummary(): TraceSummary {
  return { frames: 0, verdicts: [], others: 0, flowsOpened: 0 };
}

/** Counts a packet. */
export function addTo(summary: TraceSummary, { from, row, reason, flowsOpened }: ReplayedPacket): void {
  summary.frames += 1;
  summary.flowsOpened += flowsOpened;
  if (from !== "guest") {
    summary.others += 1;
    return;
  }
  const { verdicts } = summary;
  const known = verdicts.find((one) => one.row === row && one.reason === reason);
  if (known !== undefined) known.frames += 1;
  else {
    verdicts.push({ ...(row !== undefined && { row }), ...(reason !== undefined && { reason }), frames: 1 });
    // The table's rows in its order, what it does not have last.
    verdicts.sort(({ row: a = "~" }, { row: b = "~" }) => (a < b ? -1 : Number(a > b)));
  }
}

/** The summary for people. */
export function formatSummary({ frames, verdicts, others, flowsOpened, damage, note }: TraceSummary): string {
  const rows = [
    ...verdicts.map((one) => [
      String(one.frames),
      one.row ?? "-",
      one.reason ?? (one.row === undefined ? "not ARP or IPv4" : "not for a service address"),
    ]),
    ...(others > 0 ? [[String(others), "-", "not from the guest"]] : []),
  ];
  const table = rows.length > 0 ? `\n${formatTable(["FRAMES", "ROW", "REASON"], rows)}` : "";
  const lines = [
    `${frames} frames, flows opened: ${flowsOpened}`,
    ...(damage === undefined ? [] : [`the file is damaged, what follows is not read: ${damage}`]),
    ...(note === undefined ? [] : [`note: ${note}`]),
  ];
  return `${table}\n${lines.join("\n")}\n`;
}
