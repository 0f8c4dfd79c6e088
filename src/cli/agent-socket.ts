import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { runtimePaths } from "../agent/runtime-dir.ts";
import { NoAgentError, RefusedError } from "../api/client.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { CommandError, DEFAULT_CONFIG, DEFAULT_RUNTIME_DIR, readConfig } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** Options of the commands that talk to an agent. */
export interface WhichAgent {
  /** Find the socket in this configuration. */
  config?: string;
  socket?: string;
}

/**
 * Finds the agent's socket and asks. Where no agent answers, the `CommandError` says whether a datapath is there without it; what the agent refuses is
 * the command line's fault where a value is wrong. `command` is the name of the command that asks.
 */
export async function askAgent<T>(
  command: string,
  options: WhichAgent,
  ask: (socket: string) => Promise<T>,
  exitWhenRefused: (statusCode: number) => number = (statusCode) =>
    statusCode === 400 ? EXIT.badInput : EXIT.failed,
): Promise<T> {
  const { socket, runtimeDir } = whereToAsk(command, options);
  try {
    return await ask(socket);
  } catch (error) {
    if (error instanceof RefusedError)
      throw new CommandError(error.message, exitWhenRefused(error.statusCode));
    if (!(error instanceof NoAgentError)) throw error;
    const datapath = hasPins(runtimeDir)
      ? `; the datapath in ${runtimeDir} is in place and goes on working without it (start: onlink run, remove: onlink down)`
      : "; start one with: onlink run";
    throw new CommandError(`${error.message}${datapath}`, EXIT.noAgent);
  }
}

function whereToAsk(
  command: string,
  { config: file, socket }: WhichAgent,
): { socket: string; runtimeDir: string } {
  if (socket !== undefined) return { socket, runtimeDir: dirname(socket) };
  const config = file === undefined ? defaultConfig() : readConfig(file, hintFor(command));
  if (config !== undefined) return { socket: config.api.socket, runtimeDir: config.agent.runtimeDir };
  return { socket: `${DEFAULT_RUNTIME_DIR}/onlink.sock`, runtimeDir: DEFAULT_RUNTIME_DIR };
}

/**
 * The configuration of the default file; undefined where it is not there, and where it is wrong: an agent may go on by what it said before,
 * and tells what is wrong.
 */
function defaultConfig(): Config | undefined {
  const read = existsSync(DEFAULT_CONFIG) ? loadConfig(DEFAULT_CONFIG) : undefined;
  return read?.ok ? read.config : undefined;
}

function hintFor(command: string): string {
  return `or name the agent's socket: onlink ${command} --socket PATH`;
}

function hasPins(runtimeDir: string): boolean {
  try {
    return readdirSync(runtimePaths(runtimeDir).pins).length > 0;
  } catch {
    return false;
  }
}
