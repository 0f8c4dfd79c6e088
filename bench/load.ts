import { execFile, execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import type { Guest, Lab, Namespace } from "../src/lab/lab.ts";
import { waitFor } from "../src/lab/wait.ts";
import { output } from "../test/support/commands.ts";

const SOURCE = fileURLToPath(new URL("load/load.c", import.meta.url));
const FOLDER = fileURLToPath(new URL("../.cache/load", import.meta.url));

/**
 * Commands for clients and for servers begin with these: a processor for each. Where the kernel may choose, both meet on one in some rounds and not in
 * others, and times differ threefold whatever lies between.
 */
export const CLIENT_PROCESSOR = ["taskset", "-c", "0"];
export const SERVER_PROCESSOR = ["taskset", "-c", "1"];

/** What the program load says of a run; times in microseconds, of several turns the medians of what each has. */
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
  /** Not onlink's: its exchanges may fail, see `failuresOf`. */
  peer: boolean;
}

/** How many requests are under way at a time, and for how long each way has its turns. */
export interface LoadOptions {
  kind: "connect" | "udp" | "http";
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
  const argv = [...CLIENT_PROCESSOR, buildLoad(), ...args];
  const result: LoadResult = JSON.parse(await output(from, argv, { timeout: 120_000 }));
  expectNoFailure(result, args.join(" "));
  return result;
}

/**
 * So many rounds of requests, after one that does not count; in a round all ways take turns of some hundredths of a second (load.c). By way,
 * what each round gave. None of onlink's exchanges may fail.
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
    const lines = stdout.trim().split("\n");
    for (const [index, name] of names.entries()) {
      const result: LoadResult = JSON.parse(lines[index]!);
      if (!ways[name].peer) expectNoFailure(result, name);
      if (round > 0) results[name].push(result);
    }
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

/** Asks until somebody answers: farpd looks first whether the address is another's, and forgets after a while that it was not. */
export async function waitForArpReply(guest: Guest, address: string): Promise<void> {
  // Not by arping, which does not take replies by broadcast, as farpd's are.
  const ask = [buildLoad(), "arp", "eth0", address, "1"];
  await waitFor("an answer", async () => JSON.parse(await output(guest, ask)).good === 1, 60_000);
}

/** A note for each way with exchanges that failed. */
export function failuresOf(results: Record<string, LoadResult[]>): string[] {
  return Object.entries(results).flatMap(([way, rounds]) => {
    const failed = rounds.reduce((sum, round) => sum + round.failed, 0);
    return failed === 0 ? [] : [`${way}: ${failed} exchanges failed, or took over a second.`];
  });
}

function expectNoFailure(result: LoadResult, what: string): void {
  expect(result.failed, `${what}: failed exchanges`).toBe(0);
  expect(result.good, `${what}: exchanges`).toBeGreaterThan(0);
}
