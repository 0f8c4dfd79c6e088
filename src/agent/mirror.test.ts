import { expect, it } from "vitest";
import { fakeDatapath } from "./fakes.ts";
import { mirror } from "./mirror.ts";

it("reads once, writes through, and knows what it wrote; what could not be written it does not", () => {
  const { datapath } = fakeDatapath();
  const map = datapath.serviceAddresses;
  map.set("169.254.169.254", { services: 1 });
  const { entries, set, delete: remove } = map;
  let reads = 0;
  map.entries = () => {
    reads += 1;
    return entries();
  };
  const mirrored = mirror(map, (address) => address);
  const expectSame = () => expect(mirrored.entries()).toEqual(entries());

  mirrored.setAll([
    ["169.254.169.253", { services: 2 }],
    ["169.254.169.252", { services: 3 }],
  ]);
  expect(mirrored.get("169.254.169.254")).toEqual({ services: 1 });
  expect(mirrored.get("169.254.169.252")).toEqual({ services: 3 });
  mirrored.deleteAll(["169.254.169.254", "169.254.169.254"]);
  expect(mirrored.get("169.254.169.254")).toBeUndefined();
  expectSame();

  map.set = (address, value) => {
    if (address === "169.254.169.251") throw new Error("no room");
    set(address, value);
  };
  expect(() =>
    mirrored.setAll([
      ["169.254.169.250", { services: 4 }],
      ["169.254.169.251", { services: 5 }],
      ["169.254.169.249", { services: 6 }],
    ]),
  ).toThrow("no room");
  expectSame();
  map.delete = (address) => {
    if (address === "169.254.169.252") throw new Error("not now");
    return remove(address);
  };
  expect(() => mirrored.deleteAll(["169.254.169.253", "169.254.169.252", "169.254.169.250"])).toThrow(
    "not now",
  );
  expectSame();
  expect(entries().map(([address]) => address)).toEqual(["169.254.169.252", "169.254.169.250"]);
  expect(reads).toBe(1);
});
