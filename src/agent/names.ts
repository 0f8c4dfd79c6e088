import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import { ipv4ToUint32 } from "../packet/address.ts";
import { createLimiter } from "./limiter.ts";
import type { Answer, Lookup } from "./resolver.ts";
import type { SavedNames } from "./saved-names.ts";
import { createSaver } from "./saver.ts";

/** What is known of a name. */
export interface NameState {
  /** The addresses of the last answer, in the order of their numbers; the same while there are no answers. */
  addresses: readonly string[];
  /** Why there are no addresses, or no new ones. */
  problem?: string;
}

/** Follows the addresses of names. */
export interface Names {
  /** Follows these names and no others. */
  follow(names: Iterable<string>): void;
  stateOf(name: string): NameState;
  /** How many look-ups there were since the start, and how many of them gave no addresses. */
  lookups(): LookupCounts;
  /** Stops; look-ups under way are given up. */
  close(): void;
}

/** Look-ups of names. */
export interface LookupCounts {
  done: number;
  failed: number;
}

/** What `createNames` works on. */
export interface NamesOptions {
  lookup: Lookup;
  /** What `save` was given by an earlier agent; names that are not followed are forgotten. */
  saved: SavedNames;
  /** Keeps the addresses over a restart. May throw: it is called again with the next change. */
  save: (names: SavedNames) => void;
  /** A followed name has other addresses or another problem than before. */
  onChange: (name: string) => void;
  log: Logger;
}

/** A name with more addresses is used with those whose numbers are lowest. */
export const MAX_ADDRESSES = 32;

/** An answer is asked for again no sooner and no later than this, in ms, whatever its TTL. */
const MIN_TTL = 5000;
const MAX_TTL = 15 * 60_000;
/** Without an answer: the first time that is waited, in ms, doubled each time up to the second. */
const FIRST_RETRY = 1000;
const MAX_RETRY = 60_000;
const MAX_LOOKUPS = 64;

interface Followed {
  state: NameState;
  kind: Answer["kind"] | undefined;
  failures: number;
  timer: NodeJS.Timeout | undefined;
  abort: AbortController;
}

/** See `Names`. */
export function createNames({ lookup, saved, save, onChange, log }: NamesOptions): Names {
  const counts: LookupCounts = { done: 0, failed: 0 };
  const followed = new Map<string, Followed>();
  const limit = createLimiter(MAX_LOOKUPS);
  const saver = createSaver(() => save(addressesByName()), "the addresses of names", log);

  function addressesByName(): SavedNames {
    const entries = [...followed].flatMap(([name, { state }]) =>
      state.addresses.length > 0 ? [[name, state.addresses] as const] : [],
    );
    return new Map(entries);
  }

  async function ask(name: string, one: Followed): Promise<void> {
    const { signal } = one.abort;
    const answer = await limit(
      async (): Promise<Answer> =>
        signal.aborted ? { kind: "failed", reason: "given up" } : await lookup(name, signal),
    );
    if (signal.aborted) return;
    counts.done += 1;
    if (answer.kind !== "addresses") counts.failed += 1;
    one.failures = answer.kind === "addresses" ? 0 : one.failures + 1;
    one.timer = setTimeout(() => void ask(name, one), waitAfter(answer, one.failures));
    take(name, one, answer);
  }

  function take(name: string, one: Followed, answer: Answer): void {
    const before = one.state;
    one.state = stateAfter(answer, before);
    logAnswer(name, one.kind, answer, before, one.state);
    one.kind = answer.kind;
    if (isDeepStrictEqual(before, one.state)) return;
    if (!isDeepStrictEqual(before.addresses, one.state.addresses)) saver.changed();
    onChange(name);
  }

  function logAnswer(
    name: string,
    last: Followed["kind"],
    answer: Answer,
    before: NameState,
    { addresses }: NameState,
  ): void {
    if (answer.kind !== "addresses") {
      if (answer.kind !== last) log.warn({ name, reason: answer.reason, addresses }, "name not resolved");
    } else if (last !== "addresses" || !isDeepStrictEqual(before.addresses, addresses)) {
      const leftOut = new Set(answer.addresses).size - addresses.length;
      log.info({ name, addresses, ...(leftOut > 0 && { leftOut }) }, "name resolved");
    }
  }

  return {
    follow(names) {
      const wanted = new Set(names);
      for (const [name, one] of followed) {
        if (wanted.has(name)) continue;
        stop(one);
        followed.delete(name);
      }
      for (const name of wanted) {
        if (followed.has(name)) continue;
        const one: Followed = {
          state: { addresses: saved.get(name) ?? [], problem: "not looked up yet" },
          kind: undefined,
          failures: 0,
          timer: undefined,
          abort: new AbortController(),
        };
        followed.set(name, one);
        void ask(name, one);
      }
    },
    lookups: () => ({ ...counts }),
    stateOf: (name) => followed.get(name)?.state ?? { addresses: [], problem: "not looked up yet" },
    close() {
      saver.close();
      for (const one of followed.values()) stop(one);
      followed.clear();
    },
  };
}

function stop({ timer, abort }: Followed): void {
  clearTimeout(timer);
  abort.abort();
}

/** What an answer makes of what was known: a failed look-up leaves the addresses, any other answer counts. */
export function stateAfter(answer: Answer, { addresses }: NameState): NameState {
  switch (answer.kind) {
    case "addresses": {
      const sorted = [...new Set(answer.addresses)].sort((a, b) => ipv4ToUint32(a) - ipv4ToUint32(b));
      return { addresses: sorted.slice(0, MAX_ADDRESSES) };
    }
    case "none":
      return { addresses: [], problem: answer.reason };
    case "failed":
      return { addresses, problem: answer.reason };
  }
}

/** How long to wait before the next look-up, in ms; spread at random, so that names do not ask all at once. */
export function waitAfter(answer: Answer, failures: number): number {
  if (answer.kind === "addresses") {
    const ttl = Math.min(Math.max(answer.ttl * 1000, MIN_TTL), MAX_TTL);
    return ttl * (1 + Math.random() / 10);
  }
  const retry = Math.min(FIRST_RETRY * 2 ** (failures - 1), MAX_RETRY);
  return retry * (0.5 + Math.random() / 2);
}
