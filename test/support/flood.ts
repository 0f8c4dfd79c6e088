/** Frames as a hostile guest sends them: as they are written, as fast as it can. */
import type { Namespace } from "../../src/lab/lab.ts";
import { output } from "./commands.ts";

/** A frame, and which of its bytes (first offset, length) are drawn anew each time it is sent. */
export interface FloodFrame {
  bytes: Uint8Array;
  random?: ReadonlyArray<readonly [offset: number, length: number]>;
  /** Where the checksum of a TCP segment is, to be computed anew each time; the IPv4 header before it has no options. */
  tcpChecksumAt?: number;
}

/** Sends `count` frames in all from a guest's eth0 through a packet ring, each of those given in its turn. */
export async function flood(guest: Namespace, frames: readonly FloodFrame[], count: number): Promise<void> {
  await output(guest, ["trafgen", "--dev", "eth0", "--conf", "-", "--cpus", "1", "--num", String(count)], {
    input: frames.map(packet).join(""),
    cwd: "/run", // it writes a temporary file where it is run
  });
}

/** In the language of trafgen(8). */
function packet({ bytes, random = [], tcpChecksumAt }: FloodFrame): string {
  const items: string[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const drawn = random.find(([first]) => first === offset);
    const length = drawn?.[1] ?? (offset === tcpChecksumAt ? 2 : 1);
    if (drawn !== undefined) items.push(`drnd(${length})`);
    else if (offset === tcpChecksumAt) items.push("csumtcp(14, 34)");
    else items.push(String(bytes[offset]));
    offset += length;
  }
  return `{ ${items.join(", ")} }\n`;
}
