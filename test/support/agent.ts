/** The built `onlink` command on the host of a lab. */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { StatusBody } from "../../src/api/status.ts";
import type { Lab } from "../../src/lab/lab.ts";
import type { CommandOptions, LabProcess, RunResult } from "../../src/lab/process.ts";

/** The command. */
export const ONLINK = fileURLToPath(new URL("../../bin/onlink", import.meta.url));

/** Where `startAgent` puts the configuration, as the lab sees it: the lab's own /run. */
export const CONFIG_FILE = "/run/onlink.yaml";

/** The content of a configuration file, in the file's own terms: it may be wrong. */
export type ConfigContent = object;

/** Writes a configuration file in the lab. Text is written as it is; anything else as JSON, which is YAML too. */
export async function writeConfig(
  lab: Lab,
  config: ConfigContent | string,
  file = CONFIG_FILE,
): Promise<void> {
  await writeFile(lab.root + file, typeof config === "string" ? config : JSON.stringify(config, null, 2));
}

/** Runs an `onlink` command on the lab's host to its end. */
export function onlink(lab: Lab, ...args: string[]): Promise<RunResult> {
  return lab.host.run([process.execPath, ONLINK, ...args]);
}

/** Starts `onlink run` on the lab's host, and waits until it is ready. */
export async function startAgent(
  lab: Lab,
  config: ConfigContent | string,
  options?: CommandOptions,
): Promise<LabProcess> {
  await writeConfig(lab, config);
  const agent = await lab.host.start([process.execPath, ONLINK, "run", "--config", CONFIG_FILE], options);
  await agent.waitForLine(/"msg":"ready"/);
  return agent;
}

/** What `onlink status --json` says. */
export async function statusOf(lab: Lab): Promise<StatusBody> {
  const { code, stdout, stderr } = await onlink(lab, "status", "--json", "--config", CONFIG_FILE);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** The state of an interface in a status. */
export function interfaceIn(status: StatusBody, name: string): StatusBody["interfaces"][number] | undefined {
  return status.interfaces.find((one) => one.name === name);
}

/** The metadata address of a vif, which must be attached. */
export function metadataAddressIn(status: StatusBody, vif: string): string {
  const found = interfaceIn(status, vif);
  if (found?.state !== "attached") throw new Error(`${vif} is not attached: ${JSON.stringify(found)}`);
  return found.metadataAddress;
}
