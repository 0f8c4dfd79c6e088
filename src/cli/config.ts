import { existsSync } from "node:fs";
import { formatConfigError, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { EXIT } from "./exit-codes.ts";

/** Where the configuration is looked for when the command line does not say. */
export const DEFAULT_CONFIG = "/etc/onlink/onlink.yaml";

/** The runtime directory of a configuration that does not set it. */
export const DEFAULT_RUNTIME_DIR = "/run/onlink";

/** An error that ends a command: its message goes to standard error, its code is the exit status. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: number;
  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Reads a configuration, or throws a `CommandError` with one line for each error. `hint` is added as a last line. */
export function readConfig(file: string, hint?: string): Config {
  const result = loadConfig(file);
  if (result.ok) return result.config;
  const lines = result.errors.map(formatConfigError);
  throw new CommandError([...lines, ...(hint === undefined ? [] : [hint])].join("\n"), EXIT.badInput);
}

/**
 * The configuration for a command that can do without one: the file that was named, else the default file where it is
 * there, else undefined.
 */
export function readConfigIfThere(file: string | undefined, hint: string): Config | undefined {
  if (file === undefined && !existsSync(DEFAULT_CONFIG)) return undefined;
  return readConfig(file ?? DEFAULT_CONFIG, hint);
}
