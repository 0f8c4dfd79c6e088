import { fetchStatus } from "../api/client.ts";
import type { StatusBody } from "../api/status.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { EXIT } from "./exit-codes.ts";
import { formatInterfaces, interfaceState } from "./interfaces.ts";
import { type Paint, paintFor } from "./paint.ts";
import { formatServices } from "./services.ts";
import { formatTable } from "./table.ts";
import { formatAgo, formatBytes, formatCount } from "./units.ts";

/** As many problems, services and interfaces are shown: the rest has commands of its own. */
const MOST_PROBLEMS = 10;
const MOST_ROWS = 20;

/** `onlink status`: is all well, what is not, and what the agent and its datapath are doing. */
export async function status(options: WhichAgent & { json?: boolean }): Promise<number> {
  const body = await askAgent("status", options, fetchStatus);
  process.stdout.write(
    options.json ? `${JSON.stringify(body, null, 2)}\n` : formatStatus(body, paintFor(process.stdout)),
  );
  return EXIT.ok;
}

/** The status for people; `now` in ms since 1970. */
export function formatStatus(body: StatusBody, paint: Paint, now = Date.now()): string {
  const counters = Object.entries(body.counters).filter(([, { frames }]) => Number(frames) > 0);
  const services = shorten(body.services, MOST_ROWS, hasTrouble);
  const interfaces = shorten(body.interfaces, MOST_ROWS, ({ state }) => state === "failed");
  const sections = [
    formatVerdict(body.problems, paint),
    formatOverview(body, now),
    formatServices(services.shown, paint) + moreLine(services.more, "onlink services"),
    ...(body.draining.length === 0
      ? []
      : [
          formatTable(
            ["REMOVED SERVICE", "PORT", "PROTOCOL", "FLOWS END"],
            body.draining.map(({ address, port, protocol, ends }) => [address, String(port), protocol, ends]),
            { paint },
          ),
        ]),
    formatInterfaces(interfaces.shown, paint) + moreLine(interfaces.more, "onlink interfaces"),
    ...(body.fabric.length === 0
      ? []
      : [
          formatTable(
            ["FABRIC", "STATE"],
            body.fabric.map((one) => [one.name, interfaceState(one, paint)]),
            { paint },
          ),
        ]),
    counters.length === 0
      ? "no frames counted yet\n"
      : formatTable(
          ["FRAMES", "BYTES", "VERDICT"],
          counters.map(([reason, { frames, bytes }]) => [formatCount(frames), formatBytes(bytes), reason]),
          { right: ["FRAMES", "BYTES"], paint },
        ),
  ];
  return sections.join("\n");
}

function formatVerdict(problems: readonly string[], paint: Paint): string {
  if (problems.length === 0) return `${paint.good("ok")}: all that is configured is in step\n`;
  const { shown, more } = shorten(problems, MOST_PROBLEMS);
  return `${paint.bad("not ok")}: not all that is configured is in step\n${shown.map((one) => `  ${one}\n`).join("")}${moreLine(more, "onlink status --json")}`;
}

function formatOverview(body: StatusBody, now: number): string {
  const { configuration, device, flows } = body;
  const backends = body.services.flatMap((service) => service.backends);
  const inUse = backends.filter(({ state }) => state === "in use").length;
  const lost = Number(body.eventsLost);
  const lines = [
    ["agent", `${body.version}, pid ${body.pid}, started ${formatAgo(body.since, now)}`],
    ["configuration", `${configuration.file}, taken over ${formatAgo(configuration.loaded, now)}`],
    ["device", `${device.name} ${device.address}, programs attached by ${body.attach}`],
    ["services", `${body.services.length}, with ${inUse} of ${backends.length} backends in use`],
    ["interfaces", countStates(body.interfaces)],
    ["flows", `${flows.now} of at most ${flows.limit}, ${flows.limitPerInterface} per interface`],
    ...(lost === 0 ? [] : [["events lost", formatCount(lost)]]),
  ];
  return lines.map(([name = "", text]) => `${name.padEnd(15)}${text}\n`).join("");
}

/** `12 attached, 1 failed`. */
function countStates(interfaces: StatusBody["interfaces"]): string {
  const states = [...new Set(interfaces.map(({ state }) => state))].sort();
  const counts = states.map((state) => `${interfaces.filter((one) => one.state === state).length} ${state}`);
  return counts.join(", ") || "none";
}

function hasTrouble({ backends }: StatusBody["services"][number]): boolean {
  return backends.some(({ state }) => state !== "in use");
}

/** The first `most` in their order, those for which `isFirst` holds before others; `more`: how many are left out. */
function shorten<T>(
  items: readonly T[],
  most: number,
  isFirst: (item: T) => boolean = () => false,
): { shown: readonly T[]; more: number } {
  if (items.length <= most) return { shown: items, more: 0 };
  const ordered = [...items.filter(isFirst), ...items.filter((item) => !isFirst(item))];
  return { shown: ordered.slice(0, most), more: items.length - most };
}

function moreLine(more: number, command: string): string {
  return more === 0 ? "" : `... and ${more} more: ${command}\n`;
}
