/** What a stage can do with a frame, and what comes with it. */
import type { Reason } from "./reasons.ts";
import type { FlowKey, ModelState, Target } from "./state.ts";

/** Where a frame comes from: a guest, the host's stack at onlink0, or an interface that leads to fabric backends. */
export type Side = "vif" | "host" | "fabric";

/** What becomes of a frame. Untouched: it goes on as if onlink were not there, not a byte changed. */
export type Verdict =
  | { kind: "untouched" }
  | { kind: "drop" }
  | { kind: "send"; to: Target; frame: Uint8Array };

/** Verdict, and what it is counted under. */
export interface Counted {
  verdict: Verdict;
  /** Undefined: counted nowhere. */
  reason: Reason | undefined;
  /** The vif that it is counted for; undefined where the frame could not be given to one. */
  vif: number | undefined;
}

/**
 * What the agent is told; `mac` is what the frame claims as its sender's. All that happens is here, while the kernel programs bound what
 * a guest can provoke and may lose some.
 */
export type ModelEvent =
  | { kind: "conflict"; vif: number; service: string; mac: string }
  | { kind: "spoofed"; vif: number; guest: string; service: string; mac: string }
  | { kind: "limit"; flow: FlowKey }
  | { kind: "flow-opened"; flow: FlowKey }
  | { kind: "flow-closed"; flow: FlowKey };

/**
 * What the rules leave to chance. Which choice is made does not matter to the model; one that the rules forbid is a RangeError.
 */
export interface Choices {
  /** A slot from 0 up to, and without, `count`. */
  backend(count: number): number;
  /** A port that is not taken, ends included; undefined: none was found. */
  port(candidates: PortCandidates): number | undefined;
}

/** The ports that a new flow may have. */
export interface PortCandidates {
  min: number;
  max: number;
  taken(port: number): boolean;
}

/** What every stage is given besides the frame. */
export interface Context {
  /** Which program sees the frame. */
  side: Side;
  /** Changed by the stages. */
  state: ModelState;
  /** ns. */
  now: bigint;
  /** The interface that the frame comes from. */
  ifindex: number;
  choices: Choices;
  /** Filled by the stages. */
  events: ModelEvent[];
}

/** Leaves the frame alone; without a reason it is not counted. */
export function untouched(reason?: Reason, vif?: number): Counted {
  return { verdict: { kind: "untouched" }, reason, vif };
}

/** Drops the frame; without a reason it is not counted. */
export function drop(reason?: Reason, vif?: number): Counted {
  return { verdict: { kind: "drop" }, reason, vif };
}

/** Sends a frame. */
export function send(to: Target, frame: Uint8Array, reason: Reason, vif: number): Counted {
  return { verdict: { kind: "send", to, frame }, reason, vif };
}
