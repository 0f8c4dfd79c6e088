import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipv4ToBytes } from "./address.ts";
import { viewOf } from "./bytes.ts";
import {
  internetChecksum,
  isChecksumRight,
  onesComplementSum,
  pseudoHeaderSum,
  transportChecksum,
  udpChecksumField,
  updateChecksum,
  updateChecksumAddress,
} from "./checksum.ts";

test("the example of RFC 1071 s. 3", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  expect(onesComplementSum(bytes)).toBe(0xddf2);
  expect(internetChecksum(bytes)).toBe(0x220d);
});

test("an odd last byte is the upper half of a word", () => {
  expect(onesComplementSum(Uint8Array.of(0x01, 0x02, 0x03))).toBe(0x0402);
});

test("a sum can be continued, and a large one does not lose carries", () => {
  const bytes = new Uint8Array(0x40000).fill(0xff);
  expect(onesComplementSum(bytes)).toBe(0xffff);
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (first, second) => {
      const even = first.subarray(0, first.length - (first.length % 2));
      expect(onesComplementSum(second, onesComplementSum(even))).toBe(
        onesComplementSum(Uint8Array.from([...even, ...second])),
      );
    }),
  );
});

test("bytes with their checksum are right, and any changed word shows", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 4, maxLength: 64, size: "max" }),
      fc.integer({ min: 1, max: 0xfffe }),
      (bytes, by) => {
        const view = viewOf(bytes);
        view.setUint16(0, 0);
        view.setUint16(0, internetChecksum(bytes));
        expect(isChecksumRight(bytes)).toBe(true);
        view.setUint16(2, (view.getUint16(2) + by) % 0xffff);
        expect(isChecksumRight(bytes)).toBe(false);
      },
    ),
  );
});

describe("incremental update", () => {
  // An IPv4 header without checksum; the word that changes is the identification, at 4.
  const header = Uint8Array.of(0x45, 0, 0, 0x30, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 1, 3, 169, 254, 169, 254);
  const withWord = (word: number) => {
    const bytes = header.slice();
    viewOf(bytes).setUint16(4, word);
    return internetChecksum(bytes);
  };
  const all = Array.from({ length: 0x10000 }, (_, word) => withWord(word));

  test.each([0x0000, 0x0001, 0x7fff, 0x8000, 0xe42f, 0xe430, 0xfffe, 0xffff])(
    "from word %i to each of the 65,536 words equals a full recompute",
    (from) => {
      const wrong = all.flatMap((full, to) => (updateChecksum(all[from]!, from, to) === full ? [] : [to]));
      expect(wrong).toEqual([]);
    },
  );

  test("from each of the 65,536 words equals a full recompute", () => {
    const wrong = all.flatMap((full, from) =>
      updateChecksum(full, from, 0x1234) === all[0x1234] ? [] : [from],
    );
    expect(wrong).toEqual([]);
  });

  test("the example of RFC 1624 s. 4, which the older formula gets wrong", () => {
    expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  test("of an address equals a full recompute", () => {
    const address = fc.integer({ min: 1, max: 254 }).map((last) => `10.${last}.255.${255 - last}`);
    fc.assert(
      fc.property(address, address, (before, after) => {
        const from = header.slice();
        const to = header.slice();
        from.set(ipv4ToBytes(before), 12);
        to.set(ipv4ToBytes(after), 12);
        expect(updateChecksumAddress(internetChecksum(from), before, after)).toBe(internetChecksum(to));
      }),
    );
  });

  test("numbers beyond 16 bits are refused", () => {
    expect(() => updateChecksum(0x10000, 0, 0)).toThrow("checksum");
    expect(() => updateChecksum(0, 0x10000, 0)).toThrow("old word");
    expect(() => updateChecksum(0, 0, 0x10000)).toThrow("new word");
  });
});

describe("transport checksums", () => {
  const pseudo = { source: "10.0.1.3", destination: "169.254.169.254", protocol: 17 };

  test("the pseudo-header is summed as its 12 bytes would be", () => {
    const bytes = Uint8Array.of(10, 0, 1, 3, 169, 254, 169, 254, 0, 17, 0x12, 0x34);
    expect(pseudoHeaderSum(pseudo, 0x1234)).toBe(onesComplementSum(bytes));
  });

  test("UDP: a computed zero is sent as all ones", () => {
    // A datagram whose words sum up to 0xffff together with the pseudo-header.
    const datagram = Uint8Array.of(0, 1, 0, 2, 0, 10, 0, 0, 0, 0);
    const missing = transportChecksum(pseudo, datagram);
    viewOf(datagram).setUint16(8, missing);
    expect(transportChecksum(pseudo, datagram)).toBe(0);
    expect(udpChecksumField(0)).toBe(0xffff);
    expect(udpChecksumField(0x1234)).toBe(0x1234);
  });
});
