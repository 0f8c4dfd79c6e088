import { expect, it } from "vitest";
import { fakeDatapath } from "./fakes.ts";
import { mirror } from "./mirror.ts";

it("reads once, writes through, and knows what it wrote; what could not be written it does not", () => {
  const { datapath } = fakeDatapath();
  datapath.serviceAddresses.set("169.254.169.254", { services: 1 });
  let reads = 0;
  let full = false;
  const mirrored = mirror(
    {
      ...datapath.serviceAddresses,
      entries() {
        reads += 1;
        return datapath.serviceAddresses.entries();
      },
      set(address, value) {
        if (full) throw new Error("no room");
        datapath.serviceAddresses.set(address, value);
      },
    },
    (address) => address,
  );
  mirrored.set("169.254.169.253", { services: 2 });
  expect(mirrored.get("169.254.169.254")).toEqual({ services: 1 });
  expect(mirrored.delete("169.254.169.254")).toBe(true);
  expect(mirrored.delete("169.254.169.254")).toBe(false);
  full = true;
  expect(() => mirrored.set("169.254.169.252", { services: 1 })).toThrow("no room");
  expect(mirrored.entries()).toEqual([["169.254.169.253", { services: 2 }]]);
  expect(datapath.serviceAddresses.entries()).toEqual(mirrored.entries());
  expect(reads).toBe(1);
});
