import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inJson, toJson } from "./json.ts";

describe("inJson", () => {
  it("keeps every digit of a counter", () => {
    expect(inJson({ a: [{ frames: 5n }], b: 2n ** 53n - 1n, c: 2n ** 53n, d: 2n ** 64n - 1n })).toEqual({
      a: [{ frames: 5 }],
      b: 9007199254740991,
      c: "9007199254740992",
      d: "18446744073709551615",
    });
  });

  it("leaves everything else as it is", () => {
    const value = { text: "a", number: 1, nothing: null, missing: undefined, yes: true, list: [[]] };
    expect(inJson(value)).toEqual(value);
  });
});

it("writes as text what it makes of a value", () => {
  const value = fc.anything({ withBigInt: true, maxDepth: 3 });
  fc.assert(
    fc.property(value, (one) => {
      const json = toJson(one);
      expect(json).toBe(JSON.stringify(inJson(one)));
    }),
  );
});
