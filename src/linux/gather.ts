/** Most bytes that are put together for one send. */
export const MAX_GATHERED = 65_536;
/** From so many bytes on, nothing is gained by waiting for more, or by copying what is in one piece. */
export const LONG = 16_384;

const buffer = Buffer.allocUnsafeSlow(MAX_GATHERED);

/** What one send takes. */
export interface Gathered {
  /** The part itself where it is one piece of bytes, else the same memory each time. */
  bytes: Uint8Array;
  /** How many of the bytes are meant, and of how many parts they are. */
  length: number;
  parts: number;
}

/**
 * Puts parts of what is to be sent together, as many of the first ones as fit; a long piece of bytes that comes first is taken alone, as it is. Text is latin1, of at
 * most `MAX_GATHERED` characters. There is at least one part.
 */
export function gather(unsent: ReadonlyArray<string | Uint8Array>): Gathered {
  const first = unsent[0]!;
  if (typeof first !== "string" && (unsent.length === 1 || first.length > LONG)) {
    return { bytes: first, length: first.length, parts: 1 };
  }
  let length = 0;
  let parts = 0;
  for (const part of unsent) {
    if (length + part.length > MAX_GATHERED) break;
    if (typeof part === "string") buffer.write(part, length, "latin1");
    else buffer.set(part, length);
    length += part.length;
    parts += 1;
  }
  return { bytes: buffer, length, parts };
}
