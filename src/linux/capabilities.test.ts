import { describe, expect, it } from "vitest";
import { parseEffectiveCapabilities } from "./capabilities.ts";

const status = (mask: string) =>
  `Name:\tnode\nCapInh:\tffffffffffffffff\nCapEff:\t${mask}\nCapBnd:\t000001ffffffffff\n`;

describe("parseEffectiveCapabilities", () => {
  it("names the bits of the effective set", () => {
    expect(parseEffectiveCapabilities(status("0000000000003000"))).toEqual(
      new Set(["CAP_NET_ADMIN", "CAP_NET_RAW"]),
    );
    expect(parseEffectiveCapabilities(status("000000c000200000"))).toEqual(
      new Set(["CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
    );
    expect(parseEffectiveCapabilities(status("0000000000000000"))).toEqual(new Set());
  });

  it("knows all 41, and leaves out bits that have no name yet", () => {
    expect(parseEffectiveCapabilities(status("ffffffffffffffff")).size).toBe(41);
  });

  it("refuses a text without the line", () => {
    expect(() => parseEffectiveCapabilities("Name:\tnode\n")).toThrow("no CapEff line");
  });
});
