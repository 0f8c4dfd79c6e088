import { devicePeer, isPattern } from "./names.ts";
import type { Config, InterfaceRule } from "./schema.ts";

/** Finds the rule of an interface by its name; undefined where it has none. */
export type InterfaceMatcher = (ifname: string) => InterfaceRule | undefined;

/**
 * Finds rules at a cost that does not grow with the number of names: the rule with exactly this name, else one that was registered for it,
 * else the first pattern that fits. The loopback interface and the agent's own device and its peer never have a rule, whatever the patterns
 * say.
 */
export function interfaceMatcher(
  config: Pick<Config, "interfaces" | "agent">,
  registered: InterfaceMatcher = () => undefined,
): InterfaceMatcher {
  const { device } = config.agent;
  const own = new Set(["lo", device, devicePeer(device)]);
  const named = new Map(config.interfaces.map((rule) => [rule.name, rule]));
  const patterns = config.interfaces.filter(({ name }) => isPattern(name));
  return (ifname) =>
    own.has(ifname)
      ? undefined
      : (named.get(ifname) ?? registered(ifname) ?? patterns.find(({ name }) => fits(name, ifname)));
}

/** Whether `text` fits `pattern`, in at most pattern length times text length steps. */
function fits(pattern: string, text: string): boolean {
  let at = 0;
  let read = 0;
  // Where to go on when a character does not fit: the last star then takes one character more.
  let star = -1;
  let starTakes = 0;
  while (read < text.length) {
    if (pattern[at] === "*") {
      star = at++;
      starTakes = read;
    } else if (pattern[at] === "?" || pattern[at] === text[read]) {
      at++;
      read++;
    } else if (star >= 0) {
      at = star + 1;
      read = ++starTakes;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
