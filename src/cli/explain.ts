import { readFileSync } from "node:fs";
import { messageOf } from "../agent/errors.ts";
import { completeRef, nameOf } from "../endpoint/decide.ts";
import { parseTables } from "../endpoint/detect.ts";
import { type Explanation, explain as explainTables } from "../endpoint/explain.ts";
import type { Format, System, Tables } from "../endpoint/types.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** Lines that were not understood and are shown in full; of more, only their number. */
const MAX_SHOWN = 5;

/** `onlink explain`: which way a guest sends packets to a service address, by its tables in `files` or on standard input. */
export async function explain(
  files: readonly string[],
  options: { to: string; json?: boolean },
): Promise<number> {
  const texts = files.length === 0 ? [await standardInput()] : files.map(readText);
  const tables = parseTables(texts.join("\n\n"));
  const explained = explainTables(tables, options.to);
  if (!explained.ok) {
    throw new CommandError(
      `onlink explain: ${explained.error}\n${formatNotUnderstood(tables)}`.trimEnd(),
      EXIT.badInput,
    );
  }
  const { explanation } = explained;
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ...explanation, outputs: tables.outputs, notUnderstood: tables.notUnderstood }, null, 2)}\n`
      : formatExplanation(explanation, tables),
  );
  return explanation.reachable ? EXIT.ok : EXIT.failed;
}

function readText(file: string): string {
  try {
    return decodeText(readFileSync(file));
  } catch (error) {
    throw new CommandError(`${file}: cannot be read: ${messageOf(error)}`, EXIT.badInput);
  }
}

async function standardInput(): Promise<string> {
  if (process.stdin.isTTY) console.error("Paste the guest's tables, then press Ctrl-D on a line of its own.");
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return decodeText(Buffer.concat(chunks));
}

/**
 * Text as guests write it: UTF-16 with a byte order mark, as `>` does in Windows PowerShell, else UTF-8. Letters of older code
 * pages come out wrong, which does not matter: only headings have them.
 */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  return new TextDecoder().decode(bytes);
}

const SYSTEM_NAMES: Record<System, string> = {
  windows: "Windows",
  linux: "Linux",
  macos: "macOS",
  bsd: "BSD",
};

const FORMAT_NAMES: Record<Format, string> = {
  "windows-route-print": "route print",
  "get-net-route": "Get-NetRoute",
  "windows-arp-a": "arp -a",
  "netsh-neighbors": "netsh show neighbors",
  "get-net-neighbor": "Get-NetNeighbor",
  ipconfig: "ipconfig",
  "ip-route": "ip route",
  "ip-neigh": "ip neigh",
  "ip-addr": "ip addr",
  "route-n": "route -n",
  "arp-n": "arp -n",
  "netstat-rn": "netstat -rn",
  "bsd-arp-a": "arp -a",
};

/** The explanation for people. */
export function formatExplanation(explanation: Explanation, tables: Tables): string {
  const { decision, neighbour, system } = explanation;
  const outputs = [...new Set(tables.outputs.map(({ format }) => FORMAT_NAMES[format]))].join(", ");
  const via = decision.way === "nowhere" ? "none" : nameOf(completeRef(tables, decision.via));
  const facts: Array<[string, string | undefined]> = [
    ["guest", `${system === undefined ? "unknown" : SYSTEM_NAMES[system]} (${outputs})`],
    ["interface", via],
    [
      "next hop",
      decision.way === "on-link" ? `${decision.destination} itself, by ARP` : (decision.nextHop ?? "none"),
    ],
    ["source", decision.source],
    [
      "neighbour",
      decision.nextHop === undefined
        ? undefined
        : neighbour !== undefined
          ? `${neighbour.address} ${neighbour.mac ?? "without a MAC"}${neighbour.state === undefined ? "" : ` ${neighbour.state}`} (line ${neighbour.line})`
          : explanation.hasNeighbourTable
            ? `${decision.nextHop} is not in the table`
            : "no neighbour table in it",
    ],
    ["because", decision.reason],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const mends = explanation.mends.map(
    ({ what, commands }, index) =>
      `mend ${index + 1}: ${what}\n${commands.map((command) => `    ${command}\n`).join("")}`,
  );
  return [
    facts.map(([name, value]) => (value === undefined ? "" : `${name.padEnd(width)}  ${value}\n`)).join(""),
    `${explanation.sentence}\n`,
    decision.notes.map((note) => `note: ${note}\n`).join(""),
    mends.join(""),
    formatNotUnderstood(tables),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

/** The lines of which nothing could be made. */
function formatNotUnderstood({ notUnderstood }: Tables): string {
  const shown = notUnderstood
    .slice(0, MAX_SHOWN)
    .map(({ line, text }) => `line ${line} was not understood: ${text}\n`)
    .join("");
  const more = notUnderstood.length - MAX_SHOWN;
  return more > 0 ? `${shown}and ${more} more lines were not understood\n` : shown;
}
