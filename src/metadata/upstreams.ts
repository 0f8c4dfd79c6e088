import type { Upstream } from "./upstream.ts";

/**
 * The upstreams in the order in which a request tries them, for request number `turn`: those that could be reached before those that lately could not, each
 * group beginning with another one every time.
 */
export function inTurn(upstreams: readonly Upstream[], turn: number, now: number): readonly Upstream[] {
  if (upstreams.length < 2) return upstreams;
  const first = turn % upstreams.length;
  const turned = [...upstreams.slice(first), ...upstreams.slice(0, first)];
  const isUp = (upstream: Upstream) => upstream.downUntil() <= now;
  return [...turned.filter(isUp), ...turned.filter((upstream) => !isUp(upstream))];
}
