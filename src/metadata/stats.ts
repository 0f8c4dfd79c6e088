import type { ListenState } from "./listener.ts";
import type { UpstreamStatus } from "./upstream.ts";

/** What the metadata service has done since it was started, and how it stands. */
export interface MetadataStats {
  mode: "builtin" | "proxy";
  /** Where it listens, or why it cannot; undefined where no service is of kind metadata. */
  listening?: ListenState;
  connections: number;
  /** Answers by status; 499 for guests that went away before theirs was complete. */
  answers: Array<{ status: number; count: number }>;
  /** Requests and connections that were refused without being served, by reason; each of the former is among the answers too. */
  refusals: Record<Refusal, number>;
  /** How long answers took, from the end of the request's head: `count` of them within `le` seconds, the shorter ones included. */
  latency: { buckets: Array<{ le: number; count: number }>; sum: number; count: number };
  guests: GuestStats[];
  /** None in mode builtin. */
  upstreams: UpstreamStatus[];
}

/** What one guest got. */
export interface GuestStats {
  interface: string;
  metadataAddress: string;
  instanceId?: string;
  connections: number;
  inFlight: number;
  requests: number;
  /** By status. */
  answers: Array<{ status: number; count: number }>;
  last?: { status: number /** ISO 8601. */; at: string };
}

/**
 * Why something was refused. `notAGuest`: a connection from an address that no guest has. `noInstance`: a guest whose instance nobody named, so that no upstream
 * can be asked about it. `malformed`: what cannot be read as a request. `tooManyConnections` (of the guest or all; also such as gave way to others), `tooManyRequests` (a second; also connections of a guest that owes some) and
 * `tooManyInFlight`: limits.
 */
export type Refusal = (typeof REFUSALS)[number];
const REFUSALS = [
  "notAGuest",
  "noInstance",
  "malformed",
  "tooManyConnections",
  "tooManyRequests",
  "tooManyInFlight",
] as const;

/** Upper bounds of the latency's buckets in seconds; what takes longer is in `count` alone. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Counts of answers, the lowest status first. */
export function byStatus(answers: ReadonlyMap<number, number>): MetadataStats["answers"] {
  return [...answers].sort(([a], [b]) => a - b).map(([status, count]) => ({ status, count }));
}

/** Counts for `MetadataStats`. */
export interface MetadataCounters {
  answered(status: number, ms: number): void;
  refused(reason: Refusal): void;
  read(): Pick<MetadataStats, "answers" | "refusals" | "latency">;
}

/** See `MetadataCounters`. */
export function createCounters(): MetadataCounters {
  const answers = new Map<number, number>();
  const refusals = Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>;
  const buckets = BOUNDS.map(() => 0);
  let sum = 0;
  let count = 0;
  return {
    answered(status, ms) {
      answers.set(status, (answers.get(status) ?? 0) + 1);
      const seconds = ms / 1000;
      const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
      if (bucket >= 0) buckets[bucket]! += 1;
      sum += seconds;
      count += 1;
    },
    refused(reason) {
      refusals[reason] += 1;
    },
    read() {
      let below = 0;
      return {
        answers: byStatus(answers),
        refusals: { ...refusals },
        latency: {
          buckets: BOUNDS.map((le, index) => {
            below += buckets[index]!;
            return { le, count: below };
          }),
          sum,
          count,
        },
      };
    },
  };
}
