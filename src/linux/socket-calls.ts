/**
 * The system calls of TCP over IPv4, and epoll(7) with both directions, as plain libc functions. Apart from `libc.ts` the only file of this
 * folder that imports koffi. What fails for a reason that a peer can give returns an errno, below zero; all else throws `SystemError`.
 */
import { constants, endianness } from "node:os";
import koffi from "koffi";
import { ipv4FromUint32, ipv4ToUint32 } from "../packet/address.ts";
import { checked, SystemError } from "./libc.ts";

const libc = koffi.load(null);
const c = {
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, const void *address, unsigned int length)"),
  listen: libc.func("int listen(int fd, int backlog)"),
  accept: libc.func("int accept4(int fd, void *address, unsigned int *length, int flags)"),
  connect: libc.func("int connect(int fd, const void *address, unsigned int length)"),
  recv: libc.func("long recv(int fd, uintptr_t data, size_t size, int flags)"),
  send: libc.func("long send(int fd, const void *data, size_t size, int flags)"),
  shutdown: libc.func("int shutdown(int fd, int how)"),
  close: libc.func("int close(int fd)"),
  setsockopt: libc.func("int setsockopt(int fd, int level, int name, const int *value, unsigned int length)"),
  getsockopt: libc.func("int getsockopt(int fd, int level, int name, void *value, void *length)"),
  epollCreate: libc.func("int epoll_create1(int flags)"),
  epollControl: libc.func("int epoll_ctl(int epoll, int operation, int fd, const void *event)"),
  epollWait: libc.func(
    "long syscall(long number, int epoll, void *events, int capacity, const void *timeout, const void *mask, size_t maskSize)",
  ),
};

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_WR = 1;
/** A peer that is gone is an error, not a signal. */
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_MOD = 3;

/** struct sockaddr_in: family in the host's order, port and address in network order, eight bytes of nothing. */
const SOCKADDR_IN_SIZE = 16;
/** struct epoll_event; it is packed on x86-64 alone. */
const EPOLL_EVENT = process.arch === "x64" ? { size: 12, data: 4 } : { size: 16, data: 8 };
const EPOLL_CAPACITY = 64;
const LITTLE = endianness() === "LE";

/** epoll_pwait2(2), since Linux 5.11, has the same number on all processors; not every libc has a function for it. */
const SYS_EPOLL_PWAIT2 = 441;

/**
 * What an epoll set waits for and tells. `error` and `hangUp` are always told; `readHangUp`: the peer sends nothing more; `urgent`: it sent a byte by MSG_OOB
 * that has not been passed. With `edge`, all is told once when it comes about, and again where it stands while what is waited for is changed.
 */
export const EPOLL = {
  in: 1,
  urgent: 2,
  out: 4,
  error: 8,
  hangUp: 16,
  readHangUp: 0x2000,
  edge: 2 ** 31,
} as const;

/** An IPv4 address as text, and a port. */
export interface SocketAddress {
  address: string;
  port: number;
}

/** What a call gave, or the negative errno that it left. */
function orErrno(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

/** The name of a negative errno that one of these gave means that the call is to be made again later. */
export function isAgain(errno: number): boolean {
  return errno === -constants.errno.EAGAIN || errno === -constants.errno.EINTR;
}

function openSocket(): number {
  return orErrno(c.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

function encode({ address, port }: SocketAddress): Buffer {
  const bytes = Buffer.alloc(SOCKADDR_IN_SIZE);
  if (LITTLE) bytes.writeUInt16LE(AF_INET, 0);
  else bytes.writeUInt16BE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(ipv4ToUint32(address), 4);
  return bytes;
}

/** A socket that listens, non-blocking. Throws `SystemError`, EADDRINUSE for one. */
export function listenSocket(at: SocketAddress, backlog: number): number {
  const fd = checked(openSocket(), "socket", "cannot open a TCP socket");
  try {
    // Connections of an agent before this one, which are still ending, do not keep the port.
    checked(c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, [1], 4), "setsockopt", "cannot reuse an address");
    const sentence = `cannot listen on ${at.address}:${at.port}`;
    checked(c.bind(fd, encode(at), SOCKADDR_IN_SIZE), "bind", sentence);
    checked(c.listen(fd, backlog), "listen", sentence);
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

const peer = Buffer.alloc(SOCKADDR_IN_SIZE);

/** Accepts a connection, non-blocking and without delay of small packets: its descriptor and the peer's address, or a negative errno. */
export function acceptSocket(fd: number): { fd: number; peer: string } | number {
  const accepted = orErrno(c.accept(fd, peer, [SOCKADDR_IN_SIZE], SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (accepted < 0) return accepted;
  c.setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, [1], 4);
  return { fd: accepted, peer: ipv4FromUint32(peer.readUInt32BE(4)) };
}

/** A socket that is being connected: it can be written when it is, or `connectError` says why not. A negative errno: it cannot be. */
export function connectSocket(to: SocketAddress): number {
  const fd = openSocket();
  if (fd < 0) return fd;
  c.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, [1], 4);
  const result = orErrno(c.connect(fd, encode(to), SOCKADDR_IN_SIZE));
  if (result === 0 || result === -constants.errno.EINPROGRESS) return fd;
  c.close(fd);
  return result;
}

/** The error that a socket has (SO_ERROR) as a negative errno; 0 when it has none. */
export function socketError(fd: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  if (LITTLE) length.writeUInt32LE(4);
  else length.writeUInt32BE(4);
  const result = orErrno(c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length));
  return result < 0 ? result : -(LITTLE ? value.readInt32LE() : value.readInt32BE());
}

/** Memory that is received into: to tell its address costs less time than to make a view for every message. */
export interface ReceiveMemory {
  /** All of it. */
  bytes: Buffer;
  address: number;
}

/** Takes so many bytes of memory, which are not cleared. */
export function allocateReceiveMemory(size: number): ReceiveMemory {
  const bytes = Buffer.allocUnsafeSlow(size);
  return { bytes, address: Number(koffi.address(bytes)) };
}

/** Bytes received into the memory from an offset on; 0: the peer sends no more; below zero: an errno. */
export function receive(fd: number, { bytes, address }: ReceiveMemory, offset: number): number {
  return orErrno(c.recv(fd, address + offset, bytes.length - offset, 0));
}

/** Bytes taken of the first `length` of these; below zero: an errno. */
export function send(fd: number, bytes: Uint8Array, length: number): number {
  return orErrno(c.send(fd, bytes, length, MSG_NOSIGNAL));
}

/** Tells the peer that nothing more comes. */
export function endWriting(fd: number): void {
  c.shutdown(fd, SHUT_WR);
}

/** Makes a socket that is closed next reset its connection: the peer can tell that from an end (socket(7), SO_LINGER of no time). */
export function resetOnClose(fd: number): void {
  c.setsockopt(fd, SOL_SOCKET, SO_LINGER, [1, 0], 8);
}

/** Closes a descriptor. */
export function closeSocket(fd: number): void {
  c.close(fd);
}

/** An epoll set; each member has a number by which it is told of beside its descriptor. A descriptor that is closed leaves the set by itself. */
export interface SocketSet {
  /** Can itself be waited for. */
  readonly fd: number;
  /** `events` of `EPOLL`. Gives 0, or a negative errno: ENOSPC where the user waits for too many descriptors (fs.epoll.max_user_watches), ENOMEM. */
  add(fd: number, id: number, events: number): number;
  /** Of a member. It takes no memory: it throws `SystemError` where there is no such member. */
  change(fd: number, id: number, events: number): void;
  /**
   * Calls back for each member of which there is something to tell, now or within `BRIEF`; false when there was none. While it waits, nothing else happens in
   * this process. Throws `SystemError`: a filter of system calls may not know this one.
   */
  poll(tell: (fd: number, id: number, events: number) => void): boolean;
}

/** In nanoseconds. */
const BRIEF = 100_000n;

/** Makes an empty set. */
export function openSocketSet(): SocketSet {
  const epoll = checked(c.epollCreate(SOCK_CLOEXEC), "epoll_create1", "cannot wait for sockets");
  const event = Buffer.alloc(EPOLL_EVENT.size);
  const events = Buffer.alloc(EPOLL_EVENT.size * EPOLL_CAPACITY);
  const words = new DataView(events.buffer, events.byteOffset, events.length);
  /** struct timespec: seconds, nanoseconds. */
  const brief = Buffer.from(new BigInt64Array([0n, BRIEF]).buffer);
  function control(operation: number, fd: number, id: number, wanted: number): number {
    const view = new DataView(event.buffer, event.byteOffset, event.length);
    view.setUint32(0, wanted, LITTLE);
    view.setUint32(EPOLL_EVENT.data, fd, LITTLE);
    view.setUint32(EPOLL_EVENT.data + 4, id, LITTLE);
    return c.epollControl(epoll, operation, fd, event);
  }
  return {
    fd: epoll,
    add: (fd, id, wanted) => orErrno(control(EPOLL_CTL_ADD, fd, id, wanted)),
    change(fd, id, wanted) {
      checked(control(EPOLL_CTL_MOD, fd, id, wanted), "epoll_ctl", `cannot wait for socket ${fd}`);
    },
    poll(tell) {
      const count = orErrno(c.epollWait(SYS_EPOLL_PWAIT2, epoll, events, EPOLL_CAPACITY, brief, null, 0));
      if (count < 0 && !isAgain(count))
        throw new SystemError("epoll_pwait2", -count, "cannot wait for sockets");
      for (let at = 0; at < count * EPOLL_EVENT.size; at += EPOLL_EVENT.size) {
        const data = at + EPOLL_EVENT.data;
        tell(words.getUint32(data, LITTLE), words.getUint32(data + 4, LITTLE), words.getUint32(at, LITTLE));
      }
      return count > 0;
    },
  };
}
