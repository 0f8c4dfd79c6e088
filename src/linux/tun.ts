/** Taps: Ethernet devices whose cable ends in this process (Documentation/networking/tuntap.rst). */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { ioctl } from "./libc.ts";
import { inNetworkNamespace } from "./namespace.ts";
import { text, writeU16 } from "./netlink.ts";
import { onReadable, readNow } from "./readable.ts";

/** A tap that this process holds; the device goes away with it. */
export interface Tap {
  /** As the kernel has it: a `%d` in the name asked for is a number now. */
  readonly name: string;
  /** Puts a frame (from the Ethernet header on, no FCS) on the wire: the device receives it. It must be up. */
  send(frame: Uint8Array): void;
  /** Closes the tap, which deletes the device. */
  close(): void;
}

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x2;
const IFF_NO_PI = 0x1000;
const IFNAMSIZ = 16;
/** struct ifreq. */
const IFREQ_SIZE = 40;
const MAX_FRAME = 64 * 1024;

/**
 * Makes a tap, down, and calls back with each frame that the device sends. When the device is deleted by somebody else
 * the tap is closed and `onError` called.
 */
export function openTap(
  name: string,
  onFrame: (frame: Buffer) => void,
  onError: (error: Error) => void,
  options: { namespaceFd?: number } = {},
): Tap {
  const { fd, name: actual } =
    options.namespaceFd === undefined
      ? openDevice(name)
      : inNetworkNamespace(options.namespaceFd, () => openDevice(name));
  const buffer = Buffer.alloc(MAX_FRAME);
  let open = true;
  const stop = onReadable(fd, () => {
    let length: number | undefined;
    try {
      length = readNow(fd, buffer);
    } catch (error) {
      close();
      onError(new Error(`cannot read from the tap ${actual}; has it been deleted?`, { cause: error }));
      return;
    }
    // One frame each time, so that a flood of them does not keep the process from all else.
    if (length !== undefined) {
      onFrame(Buffer.from(buffer.subarray(0, length)));
    }
  });
  function close() {
    if (open) {
      open = false;
      stop();
      closeSync(fd);
    }
  }
  return {
    name: actual,
    send(frame) {
      writeSync(fd, frame);
    },
    close,
  };
}

/** Makes the device in the network namespace of the calling thread. */
function openDevice(name: string): { fd: number; name: string } {
  if (Buffer.byteLength(name) >= IFNAMSIZ) {
    throw new Error(`cannot make a tap named "${name}": a name has at most ${IFNAMSIZ - 1} bytes`);
  }
  const fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const request = Buffer.alloc(IFREQ_SIZE);
    request.write(name);
    writeU16(request, IFF_TAP | IFF_NO_PI, IFNAMSIZ);
    ioctl(
      fd,
      TUNSETIFF,
      request,
      `cannot make the tap ${name}; it takes root (CAP_NET_ADMIN) and a name that is free`,
    );
    return { fd, name: text(request.subarray(0, IFNAMSIZ)) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
