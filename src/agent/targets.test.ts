import { describe, expect, it } from "vitest";
import type { NameState } from "./names.ts";
import { refusalOf, targetsOf } from "./targets.ts";

describe("targetsOf", () => {
  const states: Record<string, NameState> = {
    "a.example": { addresses: ["192.0.2.1", "192.0.2.2"] },
    "b.example": { addresses: ["192.0.2.2", "169.254.1.1"], problem: "no answer" },
    "c.example": { addresses: [], problem: "there is no such name" },
  };
  const targets = (...backends: Array<{ address: string; port: number } | { name: string; port: number }>) =>
    targetsOf(
      { backends },
      (name) => states[name]!,
      (address) => (address === "169.254.1.1" ? "a service address" : undefined),
    );

  it("gives every place once, names with each of their addresses, in the order of the configuration", () => {
    expect(
      targets(
        { name: "a.example", port: 80 },
        { address: "192.0.2.1", port: 80 },
        { name: "b.example", port: 80 },
      ),
    ).toEqual([
      { address: "192.0.2.1", port: 80 },
      { name: "a.example", address: "192.0.2.2", port: 80 },
      { name: "b.example", address: "169.254.1.1", port: 80, refused: "a service address" },
    ]);
    expect(targets({ name: "a.example", port: 80 }, { name: "a.example", port: 81 }).length).toBe(4);
  });

  it("says why a name leads nowhere", () => {
    expect(targets({ name: "c.example", port: 80 })).toEqual([
      { name: "c.example", port: 80, refused: "there is no such name" },
    ]);
  });
});

describe("refusalOf", () => {
  const refusal = (address: string) =>
    refusalOf(address, {
      serviceAddresses: new Set(["169.254.169.254"]),
      metadataAddresses: "169.254.64.0/18",
    });

  it.each(["169.254.169.254", "169.254.64.9", "0.0.0.0", "224.0.0.1", "255.255.255.255"])(
    "%s is refused",
    (address) => {
      expect(refusal(address)).toMatch(/^the name leads to /);
    },
  );

  it.each(["192.0.2.1", "10.0.0.1", "127.0.0.1", "169.254.1.1"])("%s is not", (address) => {
    expect(refusal(address)).toBeUndefined();
  });
});
