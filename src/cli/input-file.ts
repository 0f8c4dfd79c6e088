import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { messageOf } from "../agent/errors.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** What a file of YAML or JSON holds, to be checked by the agent; `-` is standard input. Throws `CommandError`. */
export function readInputFile(file: string): unknown {
  try {
    return parse(readFileSync(file === "-" ? 0 : file, "utf8"), { logLevel: "error" });
  } catch (error) {
    throw new CommandError(`cannot read ${file}: ${messageOf(error)}`, EXIT.badInput);
  }
}
