import { fetchStatus } from "../api/client.ts";
import type { StatusBody } from "../api/status.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { EXIT } from "./exit-codes.ts";
import { formatTable } from "./table.ts";

/** `onlink status`: what the agent and its datapath are doing. */
export async function status(options: WhichAgent & { json?: boolean }): Promise<number> {
  const body = await askAgent("status", options, fetchStatus);
  process.stdout.write(options.json ? `${JSON.stringify(body, null, 2)}\n` : formatStatus(body));
  return EXIT.ok;
}

/** The status for people. */
export function formatStatus(body: StatusBody): string {
  const { configuration, device, flows } = body;
  const counters = Object.entries(body.counters).filter(([, { frames }]) => Number(frames) > 0);
  const sections = [
    `agent ${body.version}, pid ${body.pid}, since ${body.since}\n` +
      formatConfiguration(configuration) +
      `device ${device.name} ${device.address}, programs attached by ${body.attach}\n` +
      `flows ${flows.now} of at most ${flows.limit}, ${flows.limitPerInterface} per interface\n` +
      (Number(body.eventsLost) === 0 ? "" : `events lost: ${body.eventsLost}\n`),
    formatTable(
      ["SERVICE", "ADDRESS", "PORT", "PROTOCOL", "BACKEND", "STATE"],
      body.services.flatMap(({ name, address, port, protocols, backends }) =>
        backends.map((backend, index) => [
          ...(index === 0 ? [name, address, String(port), protocols.join(",")] : ["", "", "", ""]),
          backendPlace(backend),
          backendState(backend),
        ]),
      ),
    ),
    ...(body.draining.length === 0
      ? []
      : [
          formatTable(
            ["REMOVED SERVICE", "PORT", "PROTOCOL", "FLOWS END"],
            body.draining.map(({ address, port, protocol, ends }) => [address, String(port), protocol, ends]),
          ),
        ]),
    formatInterfaces(body.interfaces),
    ...(body.fabric.length === 0
      ? []
      : [
          formatTable(
            ["FABRIC", "STATE"],
            body.fabric.map((one) => [
              one.name,
              one.state === "failed" ? `failed: ${one.reason}` : one.state,
            ]),
          ),
        ]),
    counters.length === 0
      ? "no frames counted yet\n"
      : formatTable(
          ["FRAMES", "BYTES", "VERDICT"],
          counters.map(([reason, { frames, bytes }]) => [String(frames), String(bytes), reason]),
        ),
  ];
  return sections.join("\n");
}

function formatConfiguration({ file, loaded, errors }: StatusBody["configuration"]): string {
  const taken = `configuration ${file}, taken over ${loaded}\n`;
  if (errors === undefined) return taken;
  return `${taken}what the file says now is refused, the configuration before it holds:\n${errors.map((error) => `  ${error}\n`).join("")}`;
}

/** The table of interfaces. */
export function formatInterfaces(interfaces: StatusBody["interfaces"]): string {
  return formatTable(
    ["INTERFACE", "STATE", "METADATA ADDRESS", "FLOWS"],
    interfaces.map((one) => [
      one.name,
      one.state === "failed" ? `failed: ${one.reason}` : one.state,
      one.state === "attached" ? one.metadataAddress : "-",
      one.flows === undefined ? "-" : String(one.flows),
    ]),
  );
}

type Backend = StatusBody["services"][number]["backends"][number];

/** `10.0.0.2:53`, or `ns1.fabric.example:53 (10.0.0.2)`; without the address as long as the name leads nowhere. */
function backendPlace({ name, address, port }: Backend): string {
  if (name === undefined) return `${address}:${port}`;
  return `${name}:${port}${address === undefined ? "" : ` (${address})`}`;
}

function backendState(backend: Backend): string {
  if (backend.state === "out of use") return `out of use: ${backend.reason}`;
  const way =
    backend.kind === "host-local" ? "host-local" : `fabric by ${backend.interface} from ${backend.source}`;
  const { error } = backend.health ?? {};
  return `in use, ${way}${error === undefined ? "" : `; last check failed: ${error}`}`;
}
