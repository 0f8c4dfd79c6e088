/** Frames from the wire, byte for byte, for tests anywhere in the project. */
import { parseHex } from "./hex.ts";

/**
 * What a Windows Server 2022 guest sends for its metadata when it has no answer yet: a broadcast ARP request for
 * 169.254.169.254 from 172.31.0.7 at 02:21:87:a4:05:0c, 42 bytes, unpadded as a tap delivers it. A fresh copy at each
 * call.
 */
export function windowsArpRequest(): Uint8Array {
  return fromHex(`
    ff ff ff ff ff ff  02 21 87 a4 05 0c  08 06
    00 01 08 00 06 04  00 01
    02 21 87 a4 05 0c  ac 1f 00 07
    00 00 00 00 00 00  a9 fe a9 fe`);
}

function fromHex(text: string): Uint8Array {
  const bytes = parseHex(text);
  if (!bytes.ok) throw new Error(bytes.error.message);
  return bytes.value;
}
