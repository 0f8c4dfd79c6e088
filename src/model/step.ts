/**
 * The datapath table as a function (DESIGN section 3): what becomes of one frame. No I/O, no clock, no randomness of its own.
 *
 * Where the kernel programs get at a frame makes no difference here: frames are whole, and stripped VLAN tags are back in them.
 */
import { fromFabric } from "./fabric.ts";
import { sweepFlows } from "./flow.ts";
import { sweepFragments } from "./fragments.ts";
import { fromHost } from "./host.ts";
import type { ModelState } from "./state.ts";
import type { Choices, Context, Counted, ModelEvent, Side } from "./verdict.ts";
import { fromGuest } from "./vif.ts";

/** A frame that meets the datapath. */
export interface StepInput {
  /** Which program sees it. */
  side: Side;
  /** The interface that it comes from. */
  ifindex: number;
  /** Ethernet header first, no check sequence. Not changed. */
  frame: Uint8Array;
  /** ns; never less than in the step before. */
  now: bigint;
  /** Fabric: its destination MAC is the interface's own. Default true. */
  forThisHost?: boolean;
}

/** What became of a frame. */
export interface StepResult extends Counted {
  /** In the order in which they happened. */
  events: ModelEvent[];
}

/**
 * Takes one frame through the table. Changes `state`. Never throws whatever the frame; throws RangeError for a choice that the rules
 * forbid, which is an error of the caller.
 */
export function step(state: ModelState, input: StepInput, choices: Choices = firstFree): StepResult {
  const { side, ifindex, frame, now, forThisHost = true } = input;
  const events: ModelEvent[] = [];
  const context: Context = { side, state, now, ifindex, choices, events };
  switch (side) {
    case "vif":
      return { ...fromGuest(context, frame), events };
    case "host":
      return { ...fromHost(context, frame), events };
    case "fabric":
      return { ...fromFabric(context, frame, forThisHost), events };
  }
}

/**
 * Ends what is too old, as the kernel's timer does. Without it `step` ends an idle flow only when a frame meets it, and until then the
 * flow counts for the limits and keeps its port.
 */
export function sweep(state: ModelState, now: bigint): ModelEvent[] {
  const events: ModelEvent[] = [];
  sweepFlows(state, now, events);
  sweepFragments(state, now);
  return events;
}

/** Always the same choices: the first backend, the lowest free port. */
export const firstFree: Choices = {
  backend: () => 0,
  port({ min, max, taken }) {
    for (let port = min; port <= max; port++) if (!taken(port)) return port;
    return undefined;
  },
};
