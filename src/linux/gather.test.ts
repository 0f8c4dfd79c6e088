import fc from "fast-check";
import { expect, it } from "vitest";
import { gather, MAX_GATHERED } from "./gather.ts";

it("gives all parts in order, however they are cut into sends", () => {
  const bytes = fc
    .tuple(fc.integer({ min: 1, max: 70_000 }), fc.nat(255))
    .map(([length, value]) => new Uint8Array(length).fill(value));
  const text = bytes.map((one) => Buffer.from(one).toString("latin1").slice(0, MAX_GATHERED));
  fc.assert(
    fc.property(fc.array(fc.oneof(bytes, text), { minLength: 1, maxLength: 8 }), (written) => {
      const sent: Buffer[] = [];
      let unsent = written;
      while (unsent.length > 0) {
        const { bytes, length, parts } = gather(unsent);
        expect(parts).toBeGreaterThan(0);
        sent.push(Buffer.from(bytes.subarray(0, length)));
        unsent = unsent.slice(parts);
      }
      const all = written.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part));
      expect(Buffer.concat(sent).equals(Buffer.concat(all))).toBe(true);
    }),
    { numRuns: 50 },
  );
});

it("takes short parts together and a long one as it is", () => {
  const long = new Uint8Array(20_000);
  expect(gather(["a", new Uint8Array(2), "b"])).toMatchObject({ length: 4, parts: 3 });
  expect(gather([long, "b"])).toEqual({ bytes: long, length: 20_000, parts: 1 });
});
