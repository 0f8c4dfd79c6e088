import { expect, test } from "vitest";
import { concatBytes, padToMultiple, uint, uintUnits, viewOf } from "./bytes.ts";

test("a view shows a slice's own bytes, not the buffer's", () => {
  const slice = Uint8Array.of(9, 9, 1, 2, 9).subarray(2, 4);
  expect(viewOf(slice).getUint16(0)).toBe(0x0102);
  expect(() => viewOf(slice).getUint8(2)).toThrow(RangeError);
});

test("parts are joined in order, into new memory", () => {
  const part = Uint8Array.of(1);
  const whole = concatBytes(part, new Uint8Array(0), Uint8Array.of(2, 3));
  part[0] = 9;
  expect(whole).toEqual(Uint8Array.of(1, 2, 3));
});

test("padding fills up to the multiple and no further", () => {
  expect(padToMultiple(Uint8Array.of(1, 2, 3, 4, 5), 4)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 0, 0, 0));
  expect(padToMultiple(Uint8Array.of(1, 2, 3, 4), 4)).toHaveLength(4);
  expect(padToMultiple(new Uint8Array(0), 4)).toHaveLength(0);
});

test("a number that does not fit its field is refused by name", () => {
  expect(uint("port", 65535, 16)).toBe(65535);
  expect(uint("sequence", 0xffffffff, 32)).toBe(0xffffffff);
  for (const value of [65536, -1, 1.5, Number.NaN])
    expect(() => uint("port", value, 16)).toThrow(`port: ${value} is not an unsigned integer of 16 bits`);
});

test("a length is written in units", () => {
  expect(uintUnits("headerLength", 60, 4, 4)).toBe(15);
  expect(() => uintUnits("headerLength", 22, 4, 4)).toThrow("headerLength: 22 is not a multiple of 4");
  expect(() => uintUnits("headerLength", 64, 4, 4)).toThrow(RangeError);
});
