/** Row I5: only the first fragment of a packet has ports; the others go the way it went. */
import type { Ipv4Header } from "../packet/ipv4.ts";
import { type Ipv4Frame, rewriteFrame } from "./rewrite.ts";
import { type FirstFragment, type ModelState, NS_PER_S, type Way } from "./state.ts";
import { type Context, type Counted, send } from "./verdict.ts";

/** How long a first fragment is remembered, in ns: as long as Linux keeps the parts of a packet (ipfrag_time). */
export const FRAGMENT_LIFETIME = 30n * NS_PER_S;

/**
 * How many first fragments are remembered, by where they come from. Each vif has places of its own, so that nobody can push out another's;
 * the low bits of the identification say which place.
 */
export const FRAGMENT_PLACES = { vif: 16, host: 1024, fabric: 1024 } as const;

/** Remembers which way a first fragment goes; whole packets are not remembered. */
export function rememberFirst(context: Context, { ip }: Ipv4Frame, way: Way): void {
  if (!ip.moreFragments) return;
  const { source, destination, protocol, identification } = ip;
  const first = { source, destination, protocol, identification, at: context.now, way };
  context.state.fragments.set(place(context, identification), first);
}

/** A later fragment goes the way of its first one; undefined where that is not remembered. */
export function followFirst(context: Context, frame: Ipv4Frame): Counted | undefined {
  const { ip } = frame;
  const first = context.state.fragments.get(place(context, ip.identification));
  if (first === undefined || !isOfSamePacket(first, ip) || isForgotten(first, context.now)) return undefined;
  const { way } = first;
  return send(way.to, rewriteFrame(frame, { ...way, ports: undefined }), way.reason, way.vif);
}

/** Forgets what is remembered no longer. */
export function sweepFragments(state: ModelState, now: bigint): void {
  for (const [key, first] of state.fragments) if (isForgotten(first, now)) state.fragments.delete(key);
}

function isForgotten({ at }: FirstFragment, now: bigint): boolean {
  return now - at > FRAGMENT_LIFETIME;
}

/** RFC 791 s. 2.3. */
function isOfSamePacket(first: FirstFragment, ip: Ipv4Header): boolean {
  return (
    first.identification === ip.identification &&
    first.protocol === ip.protocol &&
    first.source === ip.source &&
    first.destination === ip.destination
  );
}

function place({ side, ifindex }: Context, identification: number): string {
  return `${side} ${side === "vif" ? ifindex : 0} ${identification % FRAGMENT_PLACES[side]}`;
}
