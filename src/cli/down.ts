import { takeDown } from "../agent/down.ts";
import { DEFAULT_RUNTIME_DIR, readConfigIfThere } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink down`: takes away what the agent of a runtime directory made. */
export async function down(options: { config?: string; runtimeDir?: string }): Promise<number> {
  const runtimeDir =
    options.runtimeDir ??
    readConfigIfThere(options.config, "or name the runtime directory: onlink down --runtime-dir DIR")?.agent
      .runtimeDir ??
    DEFAULT_RUNTIME_DIR;
  const removed = takeDown(runtimeDir);
  if (removed.length === 0) console.log(`nothing of onlink in ${runtimeDir}`);
  for (const line of removed) console.log(`removed ${line}`);
  return EXIT.ok;
}
