import { once } from "node:events";
import { type FlowFilters, fetchFlowPages } from "../api/client.ts";
import type { FlowBody } from "../api/flows.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, paintFor } from "./paint.ts";
import { type TableOptions, tableWriter } from "./table.ts";
import { formatAge, formatBytes } from "./units.ts";

const HEADINGS = [
  "INTERFACE",
  "PROTOCOL",
  "GUEST",
  "SERVICE",
  "BACKEND",
  "STATE",
  "AGE",
  "IDLE",
  "OUT",
  "IN",
] as const;

/** After so long without an end, in ms, a terminal is told how far the search is. */
const PATIENCE = 1000;

/** `onlink flows`: the flows now, page by page as they come. */
export async function flows(
  options: WhichAgent & FlowFilters & { limit?: string; json?: boolean },
): Promise<number> {
  const { config: _, socket: __, json = false, limit, ...filters } = options;
  const most = limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  if (limit !== undefined && !(Number.isInteger(most) && most >= 1))
    throw new CommandError(`onlink flows: --limit ${limit}: expected a whole number from 1`, EXIT.badInput);
  const write = json ? asLines : flowTable(paintFor(process.stdout));
  const progress = searchProgress();
  await askAgent("flows", options, async (socket) => {
    let found = 0;
    for await (const page of fetchFlowPages(socket, { ...filters, most })) {
      const wanted = page.slice(0, most - found);
      found += wanted.length;
      if (wanted.length === 0) progress.tell(found);
      else {
        progress.clear();
        await print(write(wanted));
      }
      if (found >= most) break;
    }
    progress.clear();
    if (found === 0 && !json) process.stdout.write("no flows\n");
  });
  return EXIT.ok;
}

function asLines(page: readonly FlowBody[]): string {
  return page.map((flow) => `${JSON.stringify(flow)}\n`).join("");
}

/** Gives the text for page after page, the first one under headings. */
export function flowTable(paint: Paint): (page: readonly FlowBody[]) => string {
  const options: TableOptions = { right: ["AGE", "IDLE", "OUT", "IN"], paint };
  const rows = tableWriter(HEADINGS, options);
  return (page) =>
    page.length === 0
      ? ""
      : rows(
          page.map((flow) => [
            flow.interface,
            flow.protocol,
            `${flow.guest}:${flow.guestPort}`,
            `${flow.service}:${flow.servicePort}${flow.serviceName === undefined ? "" : ` ${flow.serviceName}`}`,
            `${flow.backend}:${flow.backendPort}`,
            flow.opener === "host" ? `${flow.state}, by the host` : flow.state,
            formatAge(flow.age),
            formatAge(flow.idle),
            formatBytes(flow.bytesOut),
            formatBytes(flow.bytesIn),
          ]),
        );
}

/** Waits where the reader is slower, so that the list never lies in memory as a whole. */
async function print(text: string): Promise<void> {
  if (text !== "" && !process.stdout.write(text)) await once(process.stdout, "drain");
}

/** Says on a terminal how far a search is that takes long. */
function searchProgress(): { tell(found: number): void; clear(): void } {
  const started = performance.now();
  let isShown = false;
  return {
    tell(found) {
      if (!process.stderr.isTTY || performance.now() - started < PATIENCE) return;
      const seconds = formatAge((performance.now() - started) / 1000);
      process.stderr.write(`\r${found} flows found, searching for ${seconds} ... `);
      isShown = true;
    },
    clear() {
      // To the beginning of the line, and erase it (ECMA-48 EL).
      if (isShown) process.stderr.write("\r\u001b[K");
      isShown = false;
    },
  };
}
