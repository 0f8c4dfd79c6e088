import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMetadataAddresses, hostAddress } from "./metadata-addresses.ts";

/** 16 addresses: network, host, 13 to assign, broadcast. */
const small = "169.254.64.0/28";

describe("metadata addresses", () => {
  it("leaves out network, host and broadcast address", () => {
    const addresses = createMetadataAddresses(small, []);
    const assigned = Array.from({ length: 14 }, (_, i) => addresses.assign(`tap${i}`));
    expect(hostAddress(small)).toEqual({ address: "169.254.64.1", prefixLength: 28 });
    expect(assigned).toEqual([...Array.from({ length: 13 }, (_, i) => `169.254.64.${i + 2}`), undefined]);
  });

  it("keeps the address of a name that goes and comes, also over a restart", () => {
    const addresses = createMetadataAddresses(small, []);
    addresses.assign("tap0");
    const before = addresses.assign("tap1");
    addresses.release("tap1");
    expect(addresses.assign("tap2")).not.toBe(before);
    expect(addresses.assign("tap1")).toBe(before);

    const restarted = createMetadataAddresses(small, addresses.toSave());
    expect(restarted.knows("tap1")).toBe(true);
    expect(restarted.assign("tap9")).toBe("169.254.64.5");
    expect(restarted.assign("tap1")).toBe(before);
  });

  it("gives a full pool's next address from the name that is gone longest", () => {
    const addresses = createMetadataAddresses(small, []);
    for (let i = 0; i < 13; i += 1) addresses.assign(`tap${i}`);
    const longest = addresses.assign("tap7");
    addresses.release("tap7");
    addresses.release("tap3");
    expect(addresses.assign("new")).toBe(longest);
    expect(addresses.knows("tap7")).toBe(false);
    expect(addresses.knows("tap3")).toBe(true);
  });

  it("takes the address that the datapath has for a name, where it is free and in the pool", () => {
    const addresses = createMetadataAddresses(small, []);
    expect(addresses.assign("tap0", "169.254.64.9")).toBe("169.254.64.9");
    expect(addresses.assign("tap1", "169.254.64.9")).toBe("169.254.64.2");
    expect(addresses.assign("tap2", "169.254.64.1")).toBe("169.254.64.3");
    expect(addresses.assign("tap3", "169.254.99.9")).toBe("169.254.64.4");
  });

  it("forgets saved addresses outside the pool and such as are there twice", () => {
    const addresses = createMetadataAddresses(small, [
      { name: "a", address: "169.254.70.2" },
      { name: "b", address: "169.254.64.2" },
      { name: "c", address: "169.254.64.2" },
    ]);
    expect(addresses.toSave()).toEqual([{ name: "b", address: "169.254.64.2" }]);
  });

  it("never gives one address to two names at once, whatever happens", () => {
    const name = fc.integer({ min: 0, max: 30 }).map((i) => `tap${i}`);
    const step = fc.record({ name, gone: fc.boolean(), restart: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        let addresses = createMetadataAddresses(small, []);
        const inUse = new Map<string, string>();
        for (const { name, gone, restart } of steps) {
          if (gone) {
            addresses.release(name);
            inUse.delete(name);
          } else {
            const address = addresses.assign(name);
            if (address === undefined) expect(inUse.size).toBe(13);
            else {
              expect(inUse.get(name) ?? address).toBe(address);
              inUse.set(name, address);
            }
          }
          expect(new Set(inUse.values()).size).toBe(inUse.size);
          if (restart) {
            addresses = createMetadataAddresses(small, addresses.toSave());
            for (const [name, address] of inUse) expect(addresses.assign(name)).toBe(address);
          }
        }
      }),
    );
  });
});
