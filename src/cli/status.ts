import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { runtimePaths } from "../agent/runtime-dir.ts";
import { fetchStatus, NoAgentError } from "../api/client.ts";
import type { StatusBody } from "../api/status.ts";
import { CommandError, DEFAULT_RUNTIME_DIR, readConfigIfThere } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { formatTable } from "./table.ts";

/** `onlink status`: what the agent and its datapath are doing. */
export async function status(options: { config?: string; socket?: string; json?: boolean }): Promise<number> {
  const { socket, runtimeDir } = whereToAsk(options);
  try {
    const body = await fetchStatus(socket);
    process.stdout.write(options.json ? `${JSON.stringify(body, null, 2)}\n` : formatStatus(body));
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof NoAgentError)) throw error;
    const datapath = hasPins(runtimeDir)
      ? `; the datapath in ${runtimeDir} is in place and goes on working without it (start: onlink run, remove: onlink down)`
      : "; start one with: onlink run";
    throw new CommandError(`${error.message}${datapath}`, EXIT.noAgent);
  }
}

function whereToAsk(options: { config?: string; socket?: string }): { socket: string; runtimeDir: string } {
  if (options.socket !== undefined) return { socket: options.socket, runtimeDir: dirname(options.socket) };
  const config = readConfigIfThere(options.config, "or name the agent's socket: onlink status --socket PATH");
  if (config !== undefined) return { socket: config.api.socket, runtimeDir: config.agent.runtimeDir };
  return { socket: `${DEFAULT_RUNTIME_DIR}/onlink.sock`, runtimeDir: DEFAULT_RUNTIME_DIR };
}

function hasPins(runtimeDir: string): boolean {
  try {
    return readdirSync(runtimePaths(runtimeDir).pins).length > 0;
  } catch {
    return false;
  }
}

/** The status for people. */
export function formatStatus(body: StatusBody): string {
  const { device, flows } = body;
  const counters = Object.entries(body.counters).filter(([, { frames }]) => Number(frames) > 0);
  const sections = [
    `agent ${body.version}, pid ${body.pid}, since ${body.since}, ${body.configFile}\n` +
      `device ${device.name} ${device.address}, programs attached by ${body.attach}\n` +
      `flows ${flows.now} of at most ${flows.limit}, ${flows.limitPerInterface} per interface\n`,
    formatTable(
      ["SERVICE", "ADDRESS", "PORT", "PROTOCOL", "BACKEND", "STATE"],
      body.services.flatMap(({ name, address, port, protocols, backends }) =>
        backends.map((backend, index) => [
          ...(index === 0 ? [name, address, String(port), protocols.join(",")] : ["", "", "", ""]),
          `${backend.address}:${backend.port}`,
          backendState(backend),
        ]),
      ),
    ),
    formatTable(
      ["INTERFACE", "STATE", "METADATA ADDRESS", "FLOWS"],
      body.interfaces.map((one) => [
        one.name,
        one.state === "failed" ? `failed: ${one.reason}` : one.state,
        one.state === "attached" ? one.metadataAddress : "-",
        one.flows === undefined ? "-" : String(one.flows),
      ]),
    ),
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

function backendState(backend: StatusBody["services"][number]["backends"][number]): string {
  if (backend.state === "out of use") return `out of use: ${backend.reason}`;
  if (backend.kind === "host-local") return "in use, host-local";
  return `in use, fabric by ${backend.interface} from ${backend.source}`;
}
