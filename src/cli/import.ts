import { readFileSync } from "node:fs";
import { stringify } from "yaml";
import { messageOf } from "../agent/errors.ts";
import { type Imported, importVrouterConfig, readVrouterConfig } from "../config/contrail.ts";
import { formatConfigError, parseConfig } from "../config/load.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** `onlink import contrail FILE`: the configuration to standard output, what could not be carried over to standard error. */
export function importContrail(file: string): number {
  const imported = importVrouterConfig(readInput(file));
  const { lost, notes, config } = imported;
  for (const loss of lost) process.stderr.write(`left out: ${loss}\n`);
  if (config.services.length === 0) {
    throw new CommandError(
      `onlink import contrail: ${file} has no service that onlink can offer`,
      EXIT.failed,
    );
  }
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
  const text = formatImported(imported);
  const result = parseConfig(text, "onlink.yaml");
  process.stdout.write(text);
  if (!result.ok) {
    const errors = result.errors.map(formatConfigError).join("\n");
    throw new CommandError(
      `onlink import contrail: what came out is to be mended by hand:\n${errors}`,
      EXIT.failed,
    );
  }
  return lost.length === 0 ? EXIT.ok : EXIT.failed;
}

function readInput(file: string) {
  try {
    return readVrouterConfig(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    const where = file === "-" ? "standard input" : file;
    throw new CommandError(`onlink import contrail: ${where}: ${messageOf(error)}`, EXIT.badInput);
  }
}

/** The configuration file, with what is to be known about it in comments. */
export function formatImported({ config, lost, notes }: Imported): string {
  const comments = [
    "From OpenSDN's global-vrouter-config, by onlink import contrail.",
    ...lost.map((loss) => `Left out: ${loss}`),
    ...notes.map((note) => `Note: ${note}`),
  ];
  return `${comments.map((comment) => `# ${comment}\n`).join("")}${stringify(config)}`;
}
