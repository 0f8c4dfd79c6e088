import { fetchInterfaces } from "../api/client.ts";
import type { StatusBody } from "../api/status.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, paintFor } from "./paint.ts";
import { formatTable } from "./table.ts";
import { formatBytes, formatCount } from "./units.ts";

type Interface = StatusBody["interfaces"][number];

/** `onlink interfaces`: which interfaces are vifs, and what went over them. */
export async function interfaces(options: WhichAgent & { json?: boolean }): Promise<number> {
  const body = await askAgent("interfaces", options, fetchInterfaces);
  process.stdout.write(
    options.json
      ? `${JSON.stringify(body.interfaces, null, 2)}\n`
      : formatInterfaces(body.interfaces, paintFor(process.stdout)),
  );
  return EXIT.ok;
}

/** A line for each interface; `OUT` is from the guest to backends, `IN` the way back. */
export function formatInterfaces(list: readonly Interface[], paint: Paint): string {
  if (list.length === 0)
    return "no interface is named in the configuration, none is registered and none fits a pattern\n";
  return formatTable(
    ["INTERFACE", "STATE", "METADATA ADDRESS", "FLOWS", "OUT", "IN", "DROPPED"],
    list.map((one) => [
      one.name,
      interfaceState(one, paint),
      one.state === "attached" ? one.metadataAddress : "-",
      one.flows === undefined ? "-" : formatCount(one.flows),
      one.counters === undefined ? "-" : formatBytes(one.counters.forwarded.bytes),
      one.counters === undefined ? "-" : formatBytes(one.counters.returned.bytes),
      one.counters === undefined ? "-" : formatCount(droppedOf(one.counters)),
    ]),
    { right: ["FLOWS", "OUT", "IN", "DROPPED"], paint },
  );
}

/** Reasons for which a frame always goes no further (docs/counters.md). */
const DROPPED = ["spoofed", "limit", "malformed", "fragment", "no-port"] as const;

/** Frames that went no further. */
function droppedOf(counters: NonNullable<Interface["counters"]>): number {
  return DROPPED.reduce((sum, reason) => sum + Number(counters[reason].frames), 0);
}

/** How an interface stands, in a few words. */
export function interfaceState(
  one: StatusBody["interfaces"][number] | StatusBody["fabric"][number],
  paint: Paint,
): string {
  return one.state === "failed" ? paint.bad(`failed: ${one.reason}`) : one.state;
}
