/**
 * The calls of libpcap, and those of the C library that go with them. The only file of this folder that knows koffi.
 *
 * A batch of packets is one call: `pcap_dispatch` is given a function of libpcap itself to call for each packet, one that copies the packet into
 * memory of ours (layout.ts says which). No packet calls into JavaScript.
 */
import koffi, { type LibraryHandle } from "koffi";
import {
  BPF_PROGRAM_SIZE,
  decodeStatistics,
  ERROR_TEXT_SIZE,
  encodeQueue,
  FILE_HEADER_SIZE,
  PCAP_STAT_SIZE,
  type PcapPlatform,
  pcapPlatform,
  RECORD_HEADER_SIZE,
  takeQueueLength,
} from "./layout.ts";

/** Something that libpcap could not do, in a sentence for the operator. */
export class PcapError extends Error {
  override readonly name = "PcapError";
  /** The interface is not there, or not up: it may come. */
  readonly isAbsence: boolean;
  constructor(message: string, { isAbsence = false } = {}) {
    super(message);
    this.isAbsence = isAbsence;
  }
}

/** Which packets a capture takes. */
export interface CaptureOptions {
  /** As libpcap names it: `"tap0"`, on Windows `"\\Device\\NPF_{...}"`. */
  interfaceName: string;
  /** pcap-filter(7); the kernel runs it. */
  filter: string;
  /** What comes in from the wire, what this host sends, or both. */
  direction: "in" | "out" | "both";
  /** Bytes of a packet that are kept; on Linux it may be a few less. */
  snapLength: number;
  /** The kernel's memory for packets that were not read yet, in bytes. */
  bufferSize: number;
  /** Timestamps in nanoseconds where the system has them. */
  nanoseconds?: boolean;
}

/** An open capture. */
export interface Capture {
  /** What a unit of a record's fraction of a second is worth in ns. */
  readonly nsPerUnit: number;
  /** Makes `read` return at once, and gives the file descriptor to wait for; which Windows does not have. */
  descriptor(): number;
  /** What is there, as records (`readBatch`), and valid until the next call; empty when nothing is. Throws when the interface is gone. */
  read(): Uint8Array;
  /** The same from another thread, which waits for at most about a second until something is there. Nothing else is called meanwhile but `send`. */
  readLater(): Promise<Uint8Array>;
  /** Ends the wait of `readLater` where the system lets it. */
  interrupt(): void;
  /** Sends a frame. Throws when the interface does not take it. */
  send(frame: Uint8Array): void;
  /** Since it was opened; after the end, up to it. */
  statistics(): { received: number; dropped: number };
  /** Once, and not while `readLater` waits. */
  close(): void;
}

const PCAP_ERROR_NO_SUCH_DEVICE = -5;
const PCAP_ERROR_PERM_DENIED = -8;
const PCAP_ERROR_IFACE_NOT_UP = -9;
const PCAP_ERROR_BREAK = -2;
const PCAP_D_IN = 1;
const PCAP_D_OUT = 2;
const PCAP_TSTAMP_PRECISION_NANO = 1;
const PCAP_NETMASK_UNKNOWN = 0xffffffff;
const DLT_EN10MB = 1;
/** ms after which a wait ends though nothing came: where it cannot be interrupted, closing takes as long. */
const WAIT = 1000;
/** The most that one call hands over, packets and bytes. */
const BATCH_PACKETS = 256;
const BATCH_SIZE = 4 << 20;

type Native = Record<string, ReturnType<LibraryHandle["func"]>>;
/** A pcap_t. */
type Handle = bigint;

/** Where `collect` puts the packets of a batch. */
interface Memory {
  /** Given to `collect` with each packet. */
  pointer: bigint | Buffer;
  /** The records since the last call, as a view. */
  take(): Uint8Array;
  close(): void;
}

interface Loaded {
  platform: PcapPlatform;
  pcap: Native;
  c: Native;
  /** Address of the function that takes each packet of a batch. */
  collect: bigint;
}

let loaded: Loaded | undefined;

/** Loads the library once. Throws a `PcapError` with the mend where it is missing. */
function load(): Loaded {
  if (loaded !== undefined) return loaded;
  const platform = pcapPlatform(process.platform);
  if (platform === undefined) throw new PcapError(`libpcap on ${process.platform} is not known to onlink`);
  const { library, name } = loadFirst(platform);
  try {
    const pcap: Native = {};
    for (const prototype of [
      "void *pcap_create(const char *source, void *errorText)",
      "int pcap_set_snaplen(void *pcap, int length)",
      "int pcap_set_immediate_mode(void *pcap, int on)",
      "int pcap_set_buffer_size(void *pcap, int size)",
      "int pcap_set_timeout(void *pcap, int milliseconds)",
      "int pcap_set_tstamp_precision(void *pcap, int precision)",
      "int pcap_get_tstamp_precision(void *pcap)",
      "int pcap_activate(void *pcap)",
      "int pcap_datalink(void *pcap)",
      "int pcap_setdirection(void *pcap, int direction)",
      "int pcap_compile(void *pcap, void *program, const char *filter, int optimize, unsigned int netmask)",
      "int pcap_setfilter(void *pcap, void *program)",
      "void pcap_freecode(void *program)",
      "int pcap_setnonblock(void *pcap, int on, void *errorText)",
      "int pcap_dispatch(void *pcap, int count, void *collect, void *memory)",
      "void pcap_breakloop(void *pcap)",
      "int pcap_sendpacket(void *pcap, const void *bytes, int length)",
      "int pcap_stats(void *pcap, void *stat)",
      "const char *pcap_geterr(void *pcap)",
      "const char *pcap_statustostr(int status)",
      "void pcap_close(void *pcap)",
      ...(platform.batch === "file"
        ? ["int pcap_get_selectable_fd(void *pcap)", "void *pcap_dump_fopen(void *pcap, void *file)"]
        : []),
    ])
      define(pcap, library, prototype);
    const c: Native = {};
    if (platform.batch === "file") {
      const libc = koffi.load(null);
      for (const prototype of [
        "void *fmemopen(void *memory, size_t size, const char *mode)",
        "int fflush(void *file)",
        "long ftell(void *file)",
        "void rewind(void *file)",
        "int fclose(void *file)",
      ])
        define(c, libc, prototype);
    }
    const collect = library.symbol(platform.batch === "file" ? "pcap_dump" : "pcap_sendqueue_queue");
    loaded = { platform, pcap, c, collect };
    return loaded;
  } catch (error) {
    throw new PcapError(`${name} is too old, libpcap 1.5 is needed: ${(error as Error).message}`);
  }
}

function loadFirst(platform: PcapPlatform): { library: LibraryHandle; name: string } {
  let reason = "";
  for (const name of platform.libraries) {
    try {
      return { library: koffi.load(name), name };
    } catch (error) {
      reason ||= (error as Error).message;
    }
  }
  throw new PcapError(`cannot load libpcap: ${reason.trim()}; ${platform.mend}`);
}

function define(functions: Native, library: LibraryHandle, prototype: string): void {
  functions[/(\w+)\(/.exec(prototype)![1]!] = library.func(prototype);
}

/** Opens a capture of an Ethernet interface. Throws a `PcapError`. */
export function openCapture(options: CaptureOptions): Capture {
  const { platform, pcap, c, collect } = load();
  const { interfaceName } = options;
  const errorText = Buffer.alloc(ERROR_TEXT_SIZE);
  const handle = pcap.pcap_create!(interfaceName, errorText);
  if (handle === null) throw new PcapError(`cannot capture on ${interfaceName}: ${textIn(errorText)}`);
  // Each packet takes at most its record, so that a batch fits in its memory.
  const record = RECORD_HEADER_SIZE + options.snapLength;
  const count = Math.max(1, Math.min(BATCH_PACKETS, Math.floor(BATCH_SIZE / record)));
  let memory: Memory;
  try {
    pcap.pcap_set_snaplen!(handle, options.snapLength);
    pcap.pcap_set_immediate_mode!(handle, 1);
    pcap.pcap_set_buffer_size!(handle, options.bufferSize);
    pcap.pcap_set_timeout!(handle, WAIT);
    if (options.nanoseconds) pcap.pcap_set_tstamp_precision!(handle, PCAP_TSTAMP_PRECISION_NANO);
    activate(pcap, handle, interfaceName);
    setFilter(pcap, handle, options);
    const size = FILE_HEADER_SIZE + count * record + 1;
    memory = platform.batch === "file" ? fileMemory(pcap, c, handle, size) : queueMemory(size);
  } catch (error) {
    pcap.pcap_close!(handle);
    throw error;
  }
  const nanoseconds = pcap.pcap_get_tstamp_precision!(handle) === PCAP_TSTAMP_PRECISION_NANO;

  /** What the statistics were when it was closed. */
  let atEnd: ReturnType<Capture["statistics"]> | undefined;
  function statistics() {
    const stat = Buffer.alloc(PCAP_STAT_SIZE);
    pcap.pcap_stats!(handle, stat);
    return decodeStatistics(stat);
  }
  function taken(result: number): Uint8Array {
    if (result < 0 && result !== PCAP_ERROR_BREAK)
      throw new PcapError(`${interfaceName}: ${pcap.pcap_geterr!(handle)}`, { isAbsence: true });
    return memory.take();
  }
  return {
    nsPerUnit: nanoseconds ? 1 : 1000,
    descriptor() {
      pcap.pcap_setnonblock!(handle, 1, errorText);
      return pcap.pcap_get_selectable_fd!(handle);
    },
    read: () => taken(pcap.pcap_dispatch!(handle, count, collect, memory.pointer)),
    readLater: () =>
      new Promise((resolve, reject) => {
        pcap.pcap_dispatch!.async(
          handle,
          count,
          collect,
          memory.pointer,
          (error: Error | null, result: number) => {
            try {
              if (error !== null) throw error;
              resolve(taken(result));
            } catch (failure) {
              reject(failure);
            }
          },
        );
      }),
    interrupt: () => pcap.pcap_breakloop!(handle),
    send(frame) {
      if (atEnd !== undefined) throw new PcapError(`cannot send on ${interfaceName}: the capture is closed`);
      if (pcap.pcap_sendpacket!(handle, frame, frame.length) !== 0)
        throw new PcapError(`cannot send on ${interfaceName}: ${pcap.pcap_geterr!(handle)}`);
    },
    statistics: () => atEnd ?? statistics(),
    close() {
      atEnd = statistics();
      memory.close();
      pcap.pcap_close!(handle);
    },
  };
}

function activate(pcap: Native, handle: Handle, interfaceName: string): void {
  const status: number = pcap.pcap_activate!(handle);
  // Above 0 it is a warning, such as a kernel without the timestamps asked for.
  if (status < 0) {
    const text: string = pcap.pcap_geterr!(handle) || pcap.pcap_statustostr!(status);
    const mend = status === PCAP_ERROR_PERM_DENIED ? "; it takes root or CAP_NET_RAW" : "";
    const isAbsence = status === PCAP_ERROR_NO_SUCH_DEVICE || status === PCAP_ERROR_IFACE_NOT_UP;
    throw new PcapError(`cannot capture on ${interfaceName}: ${text}${mend}`, { isAbsence });
  }
  if (pcap.pcap_datalink!(handle) !== DLT_EN10MB)
    throw new PcapError(`cannot capture on ${interfaceName}: it does not carry Ethernet`);
}

function setFilter(pcap: Native, handle: Handle, { interfaceName, direction, filter }: CaptureOptions): void {
  // Not by "inbound" in the filter: libpcap runs that on the first packets itself, and cannot tell there. Where the system knows no
  // direction (older versions of Npcap), both come.
  if (direction !== "both") pcap.pcap_setdirection!(handle, direction === "in" ? PCAP_D_IN : PCAP_D_OUT);
  const program = Buffer.alloc(BPF_PROGRAM_SIZE);
  const failed = () =>
    new PcapError(`cannot set the filter "${filter}" on ${interfaceName}: ${pcap.pcap_geterr!(handle)}`);
  if (pcap.pcap_compile!(handle, program, filter, 1, PCAP_NETMASK_UNKNOWN) !== 0) throw failed();
  const status = pcap.pcap_setfilter!(handle, program);
  pcap.pcap_freecode!(program);
  if (status !== 0) throw failed();
}

/** A FILE whose content is memory of ours. */
function fileMemory(pcap: Native, c: Native, handle: Handle, size: number): Memory {
  // No Buffer: its parts are slower to make, and who copies one by slice would change the batch.
  const bytes = new Uint8Array(size);
  const file = c.fmemopen!(bytes, size, "w");
  if (file === null) throw new PcapError("cannot open a file in memory (fmemopen)");
  const pointer = pcap.pcap_dump_fopen!(handle, file);
  if (pointer === null) {
    c.fclose!(file);
    throw new PcapError(`cannot write packets to memory: ${pcap.pcap_geterr!(handle)}`);
  }
  // The file header, which nobody reads: records are written over it.
  c.rewind!(file);
  return {
    pointer,
    take() {
      c.fflush!(file);
      const length: number = c.ftell!(file);
      c.rewind!(file);
      return bytes.subarray(0, length);
    },
    close: () => c.fclose!(file),
  };
}

/** A send queue of Npcap's, which is never sent. */
function queueMemory(size: number): Memory {
  const bytes = new Uint8Array(size);
  const queue = encodeQueue(koffi.address(bytes), size);
  return {
    pointer: queue,
    take: () => bytes.subarray(0, takeQueueLength(queue)),
    close() {},
  };
}

function textIn(buffer: Buffer): string {
  return buffer.toString("utf8", 0, Math.max(0, buffer.indexOf(0)));
}
