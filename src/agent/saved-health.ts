/** Which backends were unhealthy, kept over a restart of the agent. */
import { join } from "node:path";
import type { Logger } from "pino";
import * as z from "zod";
import { messageOf } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";

/** A backend of a service that its last checks took out of use. */
export interface UnhealthyBackend {
  service: string;
  /** The backend, as `health.ts` knows it. */
  backend: string;
  /** Since when (ISO 8601). */
  since: string;
  /** Why the last check failed, where it did. */
  error?: string | undefined;
}

const fileSchema = z.object({
  version: z.literal(1),
  unhealthy: z.array(
    z.object({
      service: z.string(),
      backend: z.string(),
      since: z.iso.datetime(),
      error: z.string().optional(),
    }),
  ),
});

/** Where they are kept. */
export function healthFile(stateDir: string): string {
  return join(stateDir, "health.json");
}

/** Keeps them. Throws what the file system says. */
export function saveHealth(stateDir: string, unhealthy: readonly UnhealthyBackend[]): void {
  writeFileAtomically(healthFile(stateDir), `${JSON.stringify({ version: 1, unhealthy }, null, 1)}\n`);
}

/** What was kept. Without it every backend is healthy until it is checked: a file that cannot be read is passed over, and the log says so. */
export function loadHealth(stateDir: string, log: Logger): UnhealthyBackend[] {
  const file = healthFile(stateDir);
  try {
    const text = readFileIfThere(file);
    if (text === undefined) return [];
    const parsed = fileSchema.safeParse(JSON.parse(text));
    if (!parsed.success) throw new Error("not a list of unhealthy backends");
    return parsed.data.unhealthy;
  } catch (error) {
    log.warn(
      { file, reason: messageOf(error) },
      "the saved health of backends cannot be read; checking anew",
    );
    return [];
  }
}
