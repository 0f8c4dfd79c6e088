import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatDetails, readRegistration } from "./interface.ts";

describe("onlink interface add", () => {
  it("takes the fields one by one, or from a file", () => {
    const options = {
      instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
      address: ["10.0.1.3", "10.0.1.4"],
      mac: "02:00:0a:00:01:03",
      gateway: "10.0.1.1",
      answerArp: true,
      antiSpoof: false,
    };
    const registration = {
      instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
      addresses: ["10.0.1.3", "10.0.1.4"],
      mac: "02:00:0a:00:01:03",
      gateway: { address: "10.0.1.1", answerArp: true },
      antiSpoof: false,
    };
    expect(readRegistration(options)).toEqual(registration);
    // What commander gives where nothing was said.
    expect(readRegistration({ antiSpoof: true })).toEqual({});
    const folder = mkdtempSync(join(tmpdir(), "onlink-interface-"));
    try {
      const file = join(folder, "tap0.json");
      writeFileSync(file, JSON.stringify(registration));
      expect(readRegistration({ file, antiSpoof: true })).toEqual(registration);
      expect(() => readRegistration({ file, mac: "02:00:0a:00:01:03" })).toThrow("give no others beside it");
      expect(() => readRegistration({ file: `${file}x` })).toThrow(/cannot read .*ENOENT/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(() => readRegistration({ answerArp: true })).toThrow("Give --gateway ADDRESS too");
  });
});

describe("onlink interface show", () => {
  it("has a line for each thing that is known", () => {
    expect(
      formatDetails({
        interface: { name: "tap0", state: "attached", ifindex: 5, metadataAddress: "169.254.64.2", flows: 0 },
        registration: {
          instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
          addresses: ["10.0.1.3", "10.0.1.4"],
          gateway: { address: "10.0.1.1", answerArp: true },
        },
      }),
    ).toBe(
      `interface   tap0
state       attached, metadata address 169.254.64.2
ifindex     5
flows       0
registered  yes
addresses   10.0.1.3, 10.0.1.4
gateway     10.0.1.1, ARP answered
instanceId  6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11
`,
    );
    expect(formatDetails({ interface: { name: "tap0", state: "waiting" } })).toBe(
      "interface   tap0\nstate       waiting for the interface\nregistered  no\n",
    );
  });
});
