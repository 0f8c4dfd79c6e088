import { execFile, execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import type { Guest, Lab, Namespace } from "../src/lab/lab.ts";
import { output } from "../test/support/commands.ts";

const SOURCE = fileURLToPath(new URL("load/load.c", import.meta.url));
const FOLDER = fileURLToPath(new URL("../.cache/load", import.meta.url));

/**
 * Commands for clients and for servers begin with these: a processor for each. Where the kernel may choose, both meet on one in some rounds and not in
 * others, and times differ threefold whatever lies between.
 */
export const CLIENT_PROCESSOR = ["taskset", "-c", "0"];
export const SERVER_PROCESSOR = ["taskset", "-c", "1"];

/** What the program load says of a run; times in microseconds. */
export interface LoadResult {
  good: number;
  failed: number;
  seconds: number;
  p50: number;
  p99: number;
}

/** From where to where requests go. */
export interface LoadWay {
  lab: Lab;
  guest: Guest;
  address: string;
  port: number;
}

/** How many requests are under way at a time, and for how long each way has its turns. */
export interface LoadOptions {
  kind: "connect" | "udp";
  window: number;
  seconds: number;
}

/** Compiles load/load.c; returns the path of the program. */
export function buildLoad(): string {
  mkdirSync(FOLDER, { recursive: true });
  const program = `${FOLDER}/load`;
  execFileSync("cc", ["-O2", "-o", program, SOURCE], { stdio: ["ignore", "ignore", "inherit"] });
  return program;
}

/** Runs a client of load.c that has one way. None of its exchanges may fail. */
export async function runLoad(from: Namespace, ...args: string[]): Promise<LoadResult> {
  return checked(await output(from, [...CLIENT_PROCESSOR, buildLoad(), ...args], { timeout: 120_000 }));
}

/**
 * So many rounds of requests, after one that does not count; in a round all ways take turns of some hundredths of a second (load.c). By way,
 * what each round gave. No exchange may fail.
 */
export async function loadRounds<Way extends string>(
  count: number,
  ways: Record<Way, LoadWay>,
  { kind, window, seconds }: LoadOptions,
): Promise<Record<Way, LoadResult[]>> {
  const names = Object.keys(ways) as Way[];
  const places = Object.values<LoadWay>(ways).flatMap(({ lab, guest, address, port }) => [
    `${lab.root}/run/netns/${guest.name}`,
    address,
    String(port),
  ]);
  const argv = [...CLIENT_PROCESSOR, buildLoad(), kind, String(seconds), String(window), ...places];
  const results = Object.fromEntries(names.map((name) => [name, [] as LoadResult[]])) as Record<
    Way,
    LoadResult[]
  >;
  for (let round = 0; round <= count; round++) {
    const { stdout } = await promisify(execFile)(argv[0]!, argv.slice(1), { timeout: 120_000 });
    const lines = stdout.trim().split("\n").map(checked);
    if (round > 0) for (const [index, name] of names.entries()) results[name].push(lines[index]!);
  }
  return results;
}

/** One figure of each result. */
export function figuresOf<Way extends string>(
  results: Record<Way, LoadResult[]>,
  figure: (result: LoadResult) => number,
): Record<Way, number[]> {
  const entries = Object.entries<LoadResult[]>(results).map(([way, rounds]) => [way, rounds.map(figure)]);
  return Object.fromEntries(entries) as Record<Way, number[]>;
}

/** Exchanges a second. */
export function rateOf({ good, seconds }: LoadResult): number {
  return good / seconds;
}

function checked(line: string): LoadResult {
  const result: LoadResult = JSON.parse(line);
  expect(result.failed, "failed exchanges").toBe(0);
  expect(result.good).toBeGreaterThan(0);
  return result;
}
