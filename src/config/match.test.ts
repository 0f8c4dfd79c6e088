import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseConfig } from "./load.ts";
import { interfaceMatcher } from "./match.ts";
import type { Config } from "./schema.ts";

/** A configuration with these interface rules, in this order, and the agent's device `onlink0`. */
function configWith(...names: string[]): Config {
  const result = parseConfig(
    JSON.stringify({
      services: [{ name: "a", address: "169.254.169.254", port: 80, backends: ["10.0.0.1:80"] }],
      interfaces: names.map((name) => ({ name })),
    }),
    "onlink.json",
  );
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  return result.config;
}

describe("interfaceMatcher", () => {
  test.each<[rules: string[], ifname: string, rule: string | undefined]>([
    [["tap*"], "tap0", "tap*"],
    [["tap*"], "tap", "tap*"],
    [["tap*"], "xtap0", undefined],
    [["tap?"], "tap0", "tap?"],
    [["tap?"], "tap", undefined],
    [["tap?"], "tap10", undefined],
    [["*-web"], "a-web-web", "*-web"],
    [["*-web"], "a-web1", undefined],
    [["v*t*0"], "vnet0", "v*t*0"],
    [["v*t*0"], "vnet01", undefined],
    [["a.c*"], "abc", undefined],
    [["tap1"], "tap10", undefined],
    [["tap*", "tap1"], "tap1", "tap1"],
    [["tap*", "*1"], "tap1", "tap*"],
    [["*1", "tap*"], "tap1", "*1"],
    [["*"], "lo", undefined],
    [["*"], "onlink0", undefined],
    [["*"], "onlink0p", undefined],
    [["*"], "onlink1", "*"],
  ])("rules %j, interface %s: %s", (rules, ifname, rule) => {
    expect(interfaceMatcher(configWith(...rules))(ifname)?.name).toBe(rule);
  });

  test("patterns mean the same as the regular expressions they stand for", () => {
    const letters = (unit: string) =>
      fc.string({ unit: fc.constantFrom(...unit), minLength: 1, maxLength: 7 });
    fc.assert(
      fc.property(
        letters("ab*?").filter((name) => /[*?]/.test(name)),
        letters("ab"),
        (pattern, ifname) => {
          const same = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(ifname);
          expect(interfaceMatcher(configWith(pattern))(ifname) !== undefined).toBe(same);
        },
      ),
      { numRuns: 500 },
    );
  });
});
