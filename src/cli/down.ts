import { resolve } from "node:path";
import { type Fallback, takeDown } from "../agent/down.ts";
import { agentSchema, defaultSocket, fabricSchema } from "../config/schema.ts";
import { readConfigIfThere } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink down`: takes away what the agent of a runtime directory made. */
export async function down(options: { config?: string; runtimeDir?: string }): Promise<number> {
  const { runtimeDir, fallback } =
    options.runtimeDir === undefined
      ? whatToTake(options.config)
      : { runtimeDir: resolve(options.runtimeDir) };
  const removed = takeDown(runtimeDir, fallback);
  if (removed.length === 0) console.log(`nothing of onlink in ${runtimeDir}`);
  for (const line of removed) console.log(`removed ${line}`);
  return EXIT.ok;
}

/** The runtime directory of the configuration, or the default one, and what its agent makes. */
function whatToTake(file: string | undefined): { runtimeDir: string; fallback: Fallback } {
  const config = readConfigIfThere(file, "or name the runtime directory: onlink down --runtime-dir DIR");
  const { runtimeDir, device, stateDir } = config?.agent ?? agentSchema.parse({});
  const { ports } = config?.fabric ?? fabricSchema.parse({});
  const socket = config?.api.socket ?? defaultSocket(runtimeDir);
  return { runtimeDir, fallback: { device, stateDir, socket, ports } };
}
