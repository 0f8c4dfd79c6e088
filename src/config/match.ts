import { devicePeer, isPattern } from "./names.ts";
import type { Config, InterfaceRule } from "./schema.ts";

/**
 * The rule for the interface `ifname`: the one with exactly this name, else the first pattern that fits, else undefined.
 * The loopback interface and the agent's own device and its peer never have a rule, whatever the patterns say.
 */
export function matchInterface(
  config: Pick<Config, "interfaces" | "agent">,
  ifname: string,
): InterfaceRule | undefined {
  const { device } = config.agent;
  if (ifname === "lo" || ifname === device || ifname === devicePeer(device)) return undefined;
  return (
    config.interfaces.find((rule) => rule.name === ifname) ??
    config.interfaces.find((rule) => isPattern(rule.name) && fits(rule.name, ifname))
  );
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
