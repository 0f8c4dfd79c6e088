import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { CommandOptions } from "../src/lab/process.ts";

const UNIT = fileURLToPath(new URL("../packaging/onlink.service", import.meta.url));

/** The environment that the unit for systemd gives the agent, for benchmarks of the agent itself. */
export const AS_THE_UNIT: CommandOptions = {
  env: Object.fromEntries(
    [...readFileSync(UNIT, "utf8").matchAll(/^Environment="?(\w+)=(.*?)"?$/gm)].map(([, name, value]) => [
      name!,
      value!,
    ]),
  ),
};
