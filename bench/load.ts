import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Namespace } from "../src/lab/lab.ts";
import { output } from "../test/support/commands.ts";

const SOURCE = fileURLToPath(new URL("load/load.c", import.meta.url));
const FOLDER = fileURLToPath(new URL("../.cache/load", import.meta.url));

/** What the program load says of a run; times in microseconds. */
export interface LoadResult {
  good: number;
  failed: number;
  seconds: number;
  p50: number;
  p99: number;
}

/** Compiles load/load.c; returns the path of the program. */
export function buildLoad(): string {
  mkdirSync(FOLDER, { recursive: true });
  const program = `${FOLDER}/load`;
  execFileSync("cc", ["-O2", "-o", program, SOURCE], { stdio: ["ignore", "ignore", "inherit"] });
  return program;
}

/** Runs a client of load.c. None of its exchanges may fail. */
export async function runLoad(from: Namespace, ...args: string[]): Promise<LoadResult> {
  const result: LoadResult = JSON.parse(await output(from, [buildLoad(), ...args], { timeout: 120_000 }));
  expect(result.failed, `${args.join(" ")}: failed exchanges`).toBe(0);
  expect(result.good).toBeGreaterThan(0);
  return result;
}
