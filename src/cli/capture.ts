import { closeSync, openSync, writeSync } from "node:fs";
import { messageOf } from "../agent/errors.ts";
import { fetchStatus } from "../api/client.ts";
import { parseDuration } from "../config/duration.ts";
import { isIpv4 } from "../packet/address.ts";
import { concatBytes } from "../packet/bytes.ts";
import { describeFrame } from "../packet/describe.ts";
import { pcapngHeader, pcapngPacket } from "../packet/pcap.ts";
import { followCapture } from "../pcap-live/follow.ts";
import { type LivePacket, timestampOf } from "../pcap-live/layout.ts";
import { openCapture } from "../pcap-live/libpcap.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { CommandError, readConfigIfThere } from "./config.ts";
import { EXIT } from "./exit-codes.ts";

/** Options of `onlink capture`. */
export interface CaptureCommand extends WhichAgent {
  write?: string;
  count?: string;
  duration?: string;
  address?: string[];
}

/** Whole packets, also those that segmentation offload has put together. */
const SNAP_LENGTH = 262_144;
/** The kernel's memory for packets that were not read yet: each takes the most that a packet can have there. */
const BUFFER_SIZE = 32 << 20;

/** `onlink capture INTERFACE`: what passes on an interface to and from service addresses, decoded or to a pcapng file, until it is interrupted. */
export async function capture(interfaceName: string, options: CaptureCommand): Promise<number> {
  const most = options.count === undefined ? Number.POSITIVE_INFINITY : parseCount(options.count);
  const duration = options.duration === undefined ? undefined : parseTime(options.duration);
  if (options.write === "-" && process.stdout.isTTY)
    throw refusal(
      "--write - writes a file's bytes to a terminal; pipe them: onlink capture tap0 -w - | wireshark -k -i -",
    );
  const hosts = options.address?.map(checkAddress) ?? (await serviceAddresses(options));
  const live = openCapture({
    interfaceName,
    filter: `host (${[...new Set(hosts)].join(" or ")})`,
    direction: "both",
    snapLength: SNAP_LENGTH,
    bufferSize: BUFFER_SIZE,
    nanoseconds: true,
  });
  let output: Output;
  try {
    output = options.write === undefined ? decoded() : pcapng(options.write, interfaceName);
  } catch (error) {
    live.close();
    throw error;
  }

  let captured = 0;
  const ended = new Promise<Error | undefined>((resolve) => {
    const following = followCapture(
      live,
      (packets) => {
        const wanted: LivePacket[] = [];
        for (const packet of packets) if (captured + wanted.length < most) wanted.push(packet);
        try {
          output.take(wanted);
          captured += wanted.length;
        } catch (error) {
          finish(error as Error);
        }
        if (captured >= most) finish();
      },
      finish,
    );
    const timer = duration === undefined ? undefined : setTimeout(() => finish(), duration);
    const interrupted = () => finish();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupted);
    process.stderr.write(`capturing on ${interfaceName}: ${hosts.join(", ")}\n`);

    function finish(error?: Error): void {
      clearTimeout(timer);
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupted);
      void following.close().then(() => resolve(error));
    }
  });
  const error = await ended;
  output.close();
  const { dropped } = live.statistics();
  process.stderr.write(`${captured} packets captured, ${dropped} dropped for want of room\n`);
  if (error !== undefined) throw new CommandError(error.message, EXIT.failed);
  return EXIT.ok;
}

/** Where packets go; `take` throws what ends the capture. */
interface Output {
  take(packets: readonly LivePacket[]): void;
  close(): void;
}

/** One line for each packet: the time of day in UTC, to the microsecond, and the frame. */
function decoded(): Output {
  return {
    take(packets) {
      process.stdout.write(
        packets.map((packet) => `${timeOf(timestampOf(packet))}  ${describe(packet)}\n`).join(""),
      );
    },
    close() {},
  };
}

function timeOf(timestamp: bigint): string {
  const time = new Date(Number(timestamp / 1_000_000n)).toISOString().slice(11, 19);
  return `${time}.${String((timestamp / 1000n) % 1_000_000n).padStart(6, "0")}`;
}

function describe({ bytes, originalLength }: LivePacket): string {
  const part = bytes.length < originalLength ? ` (${bytes.length} of ${originalLength} bytes captured)` : "";
  return `${describeFrame(bytes)}${part}`;
}

/** A new file that its owner alone can read, since it holds what guests say; or standard output, by "-". */
function pcapng(path: string, interfaceName: string): Output {
  const toFile = path !== "-";
  const fd = toFile ? create(path) : undefined;
  const write = (bytes: Uint8Array) => {
    if (fd === undefined) process.stdout.write(bytes);
    else writeAll(fd, bytes, path);
  };
  write(pcapngHeader(interfaceName));
  return {
    take(packets) {
      if (packets.length === 0) return;
      write(
        concatBytes(
          ...packets.map((packet) => pcapngPacket(timestampOf(packet), packet.bytes, packet.originalLength)),
        ),
      );
    },
    close() {
      if (fd !== undefined) closeSync(fd);
    },
  };
}

function create(path: string): number {
  try {
    return openSync(path, "wx", 0o600);
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    const reason = isThere ? "it is there already; remove it, or give another name" : messageOf(error);
    throw new CommandError(`cannot write ${path}: ${reason}`, EXIT.failed);
  }
}

function writeAll(fd: number, bytes: Uint8Array, path: string): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  } catch (error) {
    throw new Error(`cannot write ${path}: ${messageOf(error)}`);
  }
}

/** Those of the running agent; where none runs, those of the configuration. */
async function serviceAddresses(options: CaptureCommand): Promise<string[]> {
  try {
    const { services } = await askAgent("capture", options, fetchStatus);
    return addressesOf(services, "the agent has no services");
  } catch (error) {
    if (!(error instanceof CommandError && error.exitCode === EXIT.noAgent)) throw error;
    const hint = "or give the service addresses: onlink capture INTERFACE --address ADDRESS";
    const config = readConfigIfThere(options.config, hint);
    if (config === undefined) throw new CommandError(`${error.message}\n${hint}`, EXIT.noAgent);
    return addressesOf(config.services, "the configuration has no services");
  }
}

function addressesOf(services: ReadonlyArray<{ address: string }>, otherwise: string): string[] {
  if (services.length === 0)
    throw new CommandError(
      `${otherwise}; name the addresses: onlink capture INTERFACE --address ADDRESS`,
      EXIT.failed,
    );
  return [...new Set(services.map(({ address }) => address))];
}

function checkAddress(address: string): string {
  if (!isIpv4(address)) throw refusal(`--address: ${JSON.stringify(address)} is not an IPv4 address`);
  return address;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw refusal(`--count: ${JSON.stringify(text)} is not a number of packets, such as 100`);
  return Number(text);
}

function parseTime(text: string): number {
  const ms = parseDuration(text);
  // setTimeout takes 31 bits.
  if (ms === undefined || ms <= 0 || ms > 2 ** 31 - 1)
    throw refusal(
      `--duration: ${JSON.stringify(text)} is not a duration, such as 500ms, 10s, 5m; at most 24 days`,
    );
  return ms;
}

function refusal(message: string): CommandError {
  return new CommandError(`onlink capture: ${message}`, EXIT.badInput);
}
