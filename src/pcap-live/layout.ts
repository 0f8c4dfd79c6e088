/**
 * What differs between the systems that have libpcap: the library's names, the structures' layout. Pure.
 *
 * All of them hand over a batch in the same form. On Linux and macOS `pcap_dump` writes the records of a capture file. On Windows
 * `pcap_sendqueue_queue` copies struct pcap_pkthdr and the packet one behind the other, and that structure is the same 16 bytes there, since
 * a long has 32 bits; on Linux and macOS it has 24, which is why it is not read here at all.
 */
import { endianness } from "node:os";
import { viewOf } from "../packet/bytes.ts";

/** What libpcap is on a system. */
export interface PcapPlatform {
  /** The library's names, in the order in which they are tried. */
  libraries: readonly string[];
  /** What to do where none of them can be loaded. */
  mend: string;
  /** Where a batch is put by `pcap_dispatch`: into a FILE in memory by `pcap_dump`, or into a queue of Npcap's. */
  batch: "file" | "queue";
}

/** By the name that `process.platform` has for the system. Only Linux has been run. */
const PLATFORMS: Readonly<Record<string, PcapPlatform>> = {
  linux: {
    libraries: ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so"],
    mend: "install libpcap (Debian: apt-get install libpcap0.8)",
    batch: "file",
  },
  darwin: {
    libraries: ["/usr/lib/libpcap.A.dylib", "libpcap.dylib"],
    mend: "it is part of macOS; is this another system?",
    batch: "file",
  },
  win32: {
    // Npcap, apart from WinPcap's files in System32 unless it was installed in compatibility mode.
    libraries: ["C:\\Windows\\System32\\Npcap\\wpcap.dll", "wpcap.dll"],
    mend: "install Npcap (https://npcap.com)",
    batch: "queue",
  },
};

/** What libpcap is on this system; undefined where that is not known. */
export function pcapPlatform(system: string): PcapPlatform | undefined {
  return PLATFORMS[system];
}

/** Bytes of struct bpf_program: a number of 32 bits and a pointer, on all 64-bit systems. */
export const BPF_PROGRAM_SIZE = 16;

/** Room for struct pcap_stat: three numbers of 32 bits, on Windows six. */
export const PCAP_STAT_SIZE = 24;

/** Size of the text that a call may leave (PCAP_ERRBUF_SIZE). */
export const ERROR_TEXT_SIZE = 256;

/** What comes before each packet of a batch: seconds, fraction, captured length, length on the wire; 32 bits each. */
export const RECORD_HEADER_SIZE = 16;

/** Bytes of the header that `pcap_dump_fopen` writes before the first record. */
export const FILE_HEADER_SIZE = 24;

/** Bytes of struct pcap_send_queue: size and fill of its memory in bytes, and the pointer to it. */
export const QUEUE_SIZE = 16;

/** A packet of a batch. */
export interface LivePacket {
  /** Since 1970-01-01 UTC. Two numbers, since the responder looks at few of them. */
  seconds: number;
  nanoseconds: number;
  /** From the Ethernet header on, up to the snap length; a view of the batch, which the next one overwrites. */
  bytes: Uint8Array;
  /** Length on the wire. */
  originalLength: number;
}

/** When a packet was captured, in ns since 1970-01-01 UTC. */
export function timestampOf({ seconds, nanoseconds }: Pick<LivePacket, "seconds" | "nanoseconds">): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
}

const littleEndian = endianness() === "LE";

/** The packets of a batch. `nsPerUnit` is what one unit of a record's fraction of a second is worth: 1000 or 1 ns. */
export function* readBatch(batch: Uint8Array, nsPerUnit: number): Generator<LivePacket> {
  const view = viewOf(batch);
  let offset = 0;
  while (offset + RECORD_HEADER_SIZE <= batch.length) {
    const start = offset + RECORD_HEADER_SIZE;
    const captured = view.getUint32(offset + 8, littleEndian);
    yield {
      seconds: view.getUint32(offset, littleEndian),
      nanoseconds: view.getUint32(offset + 4, littleEndian) * nsPerUnit,
      bytes: batch.subarray(start, start + captured),
      originalLength: view.getUint32(offset + 12, littleEndian),
    };
    offset = start + captured;
  }
}

/** struct pcap_send_queue for memory of `size` bytes at `address`, empty. */
export function encodeQueue(address: bigint, size: number): Buffer {
  const queue = Buffer.alloc(QUEUE_SIZE);
  const view = viewOf(queue);
  view.setUint32(0, size, littleEndian);
  view.setBigUint64(8, address, littleEndian);
  return queue;
}

/** How many bytes of its memory a queue has filled; it is empty afterwards. */
export function takeQueueLength(queue: Uint8Array): number {
  const view = viewOf(queue);
  const length = view.getUint32(4, littleEndian);
  view.setUint32(4, 0, littleEndian);
  return length;
}

/** The counts of struct pcap_stat since the capture began: packets that passed the filter, and those that found no room. */
export function decodeStatistics(stat: Uint8Array): { received: number; dropped: number } {
  const view = viewOf(stat);
  return { received: view.getUint32(0, littleEndian), dropped: view.getUint32(4, littleEndian) };
}
