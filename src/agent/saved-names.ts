/** The last addresses of the names of backends, kept over a restart of the agent. */
import { join } from "node:path";
import type { Logger } from "pino";
import * as z from "zod";
import { isIpv4 } from "../packet/address.ts";
import { messageOf } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";

/** Addresses by name. */
export type SavedNames = ReadonlyMap<string, readonly string[]>;

const fileSchema = z.object({
  version: z.literal(1),
  names: z.array(z.tuple([z.string(), z.array(z.string().refine(isIpv4))])),
});

/** Where they are kept. */
export function namesFile(stateDir: string): string {
  return join(stateDir, "names.json");
}

/** Keeps them. Throws what the file system says. */
export function saveNames(stateDir: string, names: SavedNames): void {
  writeFileAtomically(namesFile(stateDir), `${JSON.stringify({ version: 1, names: [...names] }, null, 1)}\n`);
}

/** What was kept. Without it names are only asked for anew: a file that cannot be read is passed over, and the log says so. */
export function loadNames(stateDir: string, log: Logger): SavedNames {
  const file = namesFile(stateDir);
  try {
    const text = readFileIfThere(file);
    if (text === undefined) return new Map();
    const parsed = fileSchema.safeParse(JSON.parse(text));
    if (!parsed.success) throw new Error("not a list of names and their addresses");
    return new Map(parsed.data.names);
  } catch (error) {
    log.warn({ file, reason: messageOf(error) }, "the saved addresses of names cannot be read; asking anew");
    return new Map();
  }
}
