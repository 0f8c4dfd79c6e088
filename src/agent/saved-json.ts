import type { Logger } from "pino";
import type * as z from "zod";
import { messageOf } from "./errors.ts";
import { readFileIfThere, writeFileAtomically } from "./files.ts";

/** A file in which something is kept over a restart of the agent, and which it can do without. */
export interface SavedJson<T> {
  file: string;
  schema: z.ZodType<T>;
  /** What the file is where it is right: "a list of ...". */
  content: string;
  /** What the log says where it cannot be read. */
  unreadable: string;
}

/** Keeps a value of that shape. Throws what the file system says. */
export function saveJson(file: string, value: object): void {
  writeFileAtomically(file, `${JSON.stringify(value, null, 1)}\n`);
}

/** What was kept; undefined without it. A file that cannot be read is passed over, and the log says so. */
export function loadJson<T>({ file, schema, content, unreadable }: SavedJson<T>, log: Logger): T | undefined {
  try {
    const text = readFileIfThere(file);
    if (text === undefined) return undefined;
    const parsed = schema.safeParse(JSON.parse(text));
    if (!parsed.success) throw new Error(`not ${content}`);
    return parsed.data;
  } catch (error) {
    log.warn({ file, reason: messageOf(error) }, unreadable);
    return undefined;
  }
}
