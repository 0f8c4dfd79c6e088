/** No bytes: the default for options, payloads and trailers. */
export const NO_BYTES = new Uint8Array(0);

/**
 * A DataView of exactly these bytes. Its getters and setters are big-endian, network order, unless told otherwise,
 * and throw RangeError beyond the end, so a parser checks lengths first.
 */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A new array with the parts one after the other. */
export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** The bytes, with zeros after them up to a multiple of `unit`. */
export function padToMultiple(bytes: Uint8Array, unit: number): Uint8Array {
  const missing = (unit - (bytes.length % unit)) % unit;
  return missing === 0 ? bytes : concatBytes(bytes, new Uint8Array(missing));
}

/**
 * The value, if it is an unsigned integer of that many bits; throws RangeError otherwise. A DataView would cut off
 * the upper bits in silence, and port 65616 would become port 80.
 */
export function uint(field: string, value: number, bits: number): number {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits)
    throw new RangeError(`${field}: ${value} is not an unsigned integer of ${bits} bits`);
  return value;
}

/**
 * A length or offset in bytes as the count of units that a header field of that many bits holds; throws RangeError
 * where it is no multiple of the unit or the count does not fit.
 */
export function uintUnits(field: string, value: number, unit: number, bits: number): number {
  if (value % unit !== 0) throw new RangeError(`${field}: ${value} is not a multiple of ${unit}`);
  return uint(field, value / unit, bits);
}
