/**
 * TCP connections over IPv4 with callbacks, for what exchanges many small messages: with the streams of node:net, most of the time that such a
 * message takes goes into the streams. Connections live on one epoll set, which is waited for as netlink sockets are.
 */
import { getSystemErrorName } from "node:util";
import { gather, LONG, MAX_GATHERED } from "./gather.ts";
import { SystemError } from "./libc.ts";
import { onReadable } from "./readable.ts";
import {
  acceptSocket,
  allocateReceiveMemory,
  closeSocket,
  connectSocket,
  EPOLL,
  endWriting,
  isAgain,
  listenSocket,
  openSocketSet,
  receive,
  resetOnClose,
  type SocketAddress,
  type SocketSet,
  send,
  socketError,
} from "./socket-calls.ts";

/** What happens on a connection. Nothing is told after `closed`. */
export interface TcpEvents {
  /** It is there; told only of one that `connectTcp` makes. */
  connected?(): void;
  /**
   * Bytes of `memory` have come, from `from` up to `to`. They hold until what happens now has been dealt with: then the memory is received into again. What
   * is written to a connection meanwhile is taken care of, anything else that is to last must be copied.
   */
  data(memory: Buffer, from: number, to: number): void;
  /** All that was written is on its way, after `write` said no. */
  drained(): void;
  /** The peer sends nothing more. */
  ended(): void;
  /** It is gone, also by `destroy`; `reason` is the name of an error, such as ECONNREFUSED. Told once. */
  closed(reason: string | undefined): void;
}

/** A connection. After it is gone, nothing that is done to it has an effect. */
export interface TcpConnection {
  /**
   * Sends, once what else happens now has been dealt with: what is written by then goes out together. Text is latin1; bytes are not to be changed any
   * more. False when the peer does not take all that was written: `drained` will tell, and until then nothing should be written.
   */
  write(data: string | Uint8Array): boolean;
  /** Whether `drained` is to come. */
  isBlocked(): boolean;
  /** Whether to read what comes; it does at first. */
  setReading(reading: boolean): void;
  /** After what was written, the peer is told that nothing more comes. */
  end(): void;
  /**
   * Closes it at once. What was written still arrives; where the peer does not take all of it, or something that it sent was not read, it is as
   * after `abort`.
   */
  destroy(): void;
  /** Closes it at once, so that the peer sees it broken: by RST, and what it has not read is lost. */
  abort(): void;
}

/** A place where connections are accepted, until it is closed. */
export interface TcpListener {
  close(): void;
}

/** Bytes that can be received before they must have been dealt with. */
const MEMORY_SIZE = 65_536;
/** So many looks at the set, with all that follows, before others in this process have their turn. */
const ROUNDS = 16;
/** Connections are told of once when something happens: to tell again as long as it has not been dealt with would have the kernel look at each of them twice. */
const ONCE = EPOLL.edge | EPOLL.readHangUp | EPOLL.urgent;
/** The peer sends nothing more, after what has come. */
const ENDED = EPOLL.readHangUp | EPOLL.hangUp | EPOLL.error;
/** Something follows what recv(2) gives: it stops at an urgent byte, which it leaves out when called again. */
const MORE = ENDED | EPOLL.urgent;
/** Connections accepted in one go. */
const ACCEPT_BURST = 64;
/** When no connection can be accepted, for lack of descriptors for one, it is tried again after so many ms. */
const ACCEPT_AGAIN = 100;

/** Where the messages of all connections are received. It is always the same memory, so it stays in the processor's cache. */
const memory = allocateReceiveMemory(MEMORY_SIZE);
let used = 0;
/** With less room than this, what has come is dealt with first. */
const LEAST_ROOM = 16_384;

/** A connection or listener in the set. */
interface Member {
  id: number;
  tell(events: number): void;
}

let set: SocketSet | undefined;
let stopWaiting: (() => void) | undefined;
/** By descriptor. One that is closed is soon that of another member, so what is told of carries the member's own number too. */
const members: Array<Member | undefined> = [];
let memberCount = 0;
let lastId = 0;

/** Enters a descriptor into the set. Gives its number there, or a negative errno. */
function join(fd: number, events: number, tell: (events: number) => void): number {
  set ??= openSocketSet();
  lastId = (lastId + 1) >>> 0;
  const errno = set.add(fd, lastId, events);
  if (errno < 0) return errno;
  members[fd] = { id: lastId, tell };
  memberCount += 1;
  stopWaiting ??= onReadable(set.fd, look);
  return lastId;
}

function leave(fd: number): void {
  members[fd] = undefined;
  memberCount -= 1;
  closeSocket(fd);
  if (memberCount > 0) return;
  stopWaiting?.();
  stopWaiting = undefined;
}

/**
 * Says whether more is to be expected. Where messages come in quick succession the next one is not far: it is waited for here a little, since it takes ten times
 * as long to have a thread wait and tell of it.
 */
function look(): boolean {
  for (let round = 0; round < ROUNDS; round++) {
    looking = true;
    const found = set!.poll(tell);
    looking = false;
    if (!found) return false;
    sendAll();
  }
  return true;
}

/**
 * Connections with something to send, which they do when all that happened has been dealt with: a peer then finds more to do at once,
 * where it would be woken for each message otherwise, which costs both sides more than the message itself.
 */
let toSend: Array<() => void> = [];
/** Whether `look` is about to call `sendAll`. */
let looking = false;

function sendLater(send: () => void): void {
  if (toSend.push(send) === 1 && !looking) queueMicrotask(sendAll);
}
function sendAll(): void {
  const sending = toSend;
  if (sending.length > 0) toSend = [];
  for (const send of sending) send();
  used = 0;
}
function tell(fd: number, id: number, events: number): void {
  const member = members[fd];
  if (member?.id === id) member.tell(events);
}

/** Listens. `accept` gets each connection with its peer's address, and gives what is to hear of it. Throws `SystemError`. */
export function listenTcp(
  at: SocketAddress,
  accept: (connection: TcpConnection, peer: string) => TcpEvents,
): TcpListener {
  const fd = listenSocket(at, 1024);
  let timer: NodeJS.Timeout | undefined;
  const id = join(fd, EPOLL.in, () => {
    for (let count = 0; count < ACCEPT_BURST; count++) {
      const accepted = acceptSocket(fd);
      const made =
        typeof accepted === "object"
          ? makeConnection(accepted.fd, (one) => accept(one, accepted.peer))
          : accepted;
      if (typeof made === "object") continue;
      if (isAgain(made)) return;
      if (!isOfOneConnection(made)) {
        pause();
        return;
      }
    }
  });
  if (id < 0) {
    closeSocket(fd);
    throw new SystemError("epoll_ctl", -id, `cannot wait for connections on ${at.address}:${at.port}`);
  }
  function pause(): void {
    set!.change(fd, id, 0);
    timer = setTimeout(() => set!.change(fd, id, EPOLL.in), ACCEPT_AGAIN);
  }
  return {
    close() {
      clearTimeout(timer);
      leave(fd);
    },
  };
}

/** accept(2): a connection that broke before it was accepted gives its own error. ENOSPC is epoll_ctl's, beyond fs.epoll.max_user_watches. */
function isOfOneConnection(errno: number): boolean {
  return !["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSPC"].includes(getSystemErrorName(errno));
}

/** Connects. What fails, at once too, is told by `closed` later. */
export function connectTcp(to: SocketAddress, events: TcpEvents): TcpConnection {
  const fd = connectSocket(to);
  const made = fd < 0 ? fd : makeConnection(fd, () => events, true);
  if (typeof made === "object") return made;
  const immediate = setImmediate(() => events.closed(getSystemErrorName(made)));
  return {
    write: () => true,
    isBlocked: () => false,
    setReading() {},
    end() {},
    destroy: () => clearImmediate(immediate),
    abort: () => clearImmediate(immediate),
  };
}

/** The same, and no part of the memory that is received into. */
function lasting(data: string | Uint8Array): string | Uint8Array {
  return typeof data !== "string" && data.buffer === memory.bytes.buffer ? Buffer.from(data) : data;
}

/** A negative errno where the connection cannot be waited for: then it is closed, and `attach` was not called. */
function makeConnection(
  fd: number,
  attach: (connection: TcpConnection) => TcpEvents,
  isConnecting = false,
): TcpConnection | number {
  let connecting = isConnecting;
  let open = true;
  let reading = true;
  let peerEnded = false;
  let ending = false;
  /** What is not on its way yet, and how much that is. */
  let unsent: Array<string | Uint8Array> = [];
  let unsentBytes = 0;
  /** The peer does not take more. */
  let blocked = false;
  /** Undefined while `attach` looks at the connection, which may close it. */
  let events: TcpEvents | undefined;
  let wanted: number = connecting ? EPOLL.out : EPOLL.in;
  const id = join(fd, wanted | ONCE, onEvents);
  if (id < 0) {
    resetOnClose(fd);
    closeSocket(fd);
    return id;
  }

  /** What is to be waited for now. */
  function needed(): number {
    const isWriting = connecting || blocked;
    const isReading = !connecting && reading && !peerEnded;
    return (isReading ? EPOLL.in : 0) | (isWriting ? EPOLL.out : 0);
  }
  function update(): void {
    const next = needed();
    if (next !== wanted) want(next);
  }
  /** Waits for this from now on; what is there already is told again. */
  function want(next: number): void {
    wanted = next;
    set!.change(fd, id, wanted | ONCE);
  }

  function close(errno?: number): void {
    if (!open) return;
    open = false;
    unsent = [];
    blocked = false;
    leave(fd);
    events?.closed(errno === undefined || errno === 0 ? undefined : getSystemErrorName(errno));
  }

  function onEvents(told: number): void {
    if (connecting) finishConnecting();
    // While it is not read, or after the peer's end, nothing else would tell of a connection that broke.
    else if ((told & (EPOLL.error | EPOLL.hangUp)) !== 0 && (wanted & EPOLL.in) === 0) close(socketError(fd));
    else {
      if ((told & EPOLL.out) !== 0) sendOn();
      if (open && (told & ~EPOLL.out) !== 0 && (wanted & EPOLL.in) !== 0) read((told & MORE) !== 0);
    }
  }

  function finishConnecting(): void {
    const errno = socketError(fd);
    if (errno !== 0) {
      close(errno);
      return;
    }
    connecting = false;
    // Room to write came with the connection, and was told of as that: it is told again, for what has been written already.
    want(needed());
    events?.connected?.();
  }

  /** Receives once, and again where `more` is known to follow, if only the peer's end. */
  function read(more: boolean): void {
    if (memory.bytes.length - used < LEAST_ROOM) sendAll();
    const room = memory.bytes.length - used;
    const count = receive(fd, memory, used);
    if (count > 0) {
      const from = used;
      used += count;
      events?.data(memory.bytes, from, used);
      // Where there may be more, it has its turn after that of others.
      if (open && (more || count === room) && (wanted & EPOLL.in) !== 0) want(wanted);
    } else if (count === 0) {
      peerEnded = true;
      update();
      events?.ended();
    } else if (!isAgain(count)) close(count);
  }

  /** How many of the first `length` bytes are on their way; a connection that broke takes all. */
  function sendNow(bytes: Uint8Array, length: number): number {
    const sent = send(fd, bytes, length);
    if (sent >= 0) return sent;
    if (isAgain(sent)) return 0;
    // Told later: who writes does not expect to be called back.
    setImmediate(close, sent);
    return length;
  }

  /** Sends all that it can of what was written; false where the peer does not take it. */
  function sendUnsent(): boolean {
    while (unsent.length > 0) {
      const { bytes, length, parts } = gather(unsent);
      const sent = sendNow(bytes, length);
      unsentBytes -= sent;
      blocked = sent < length;
      if (blocked) {
        const rest = bytes.subarray(sent, length);
        // What was put together is put there again for the next send.
        unsent.splice(0, parts, bytes === unsent[0] ? rest : Buffer.from(rest));
        unsent = unsent.map(lasting);
        return false;
      }
      if (parts === unsent.length) unsent = [];
      else unsent.splice(0, parts);
    }
    return true;
  }

  /** What waited for the end of other things. */
  function sendWaiting(): void {
    if (!blocked && !sendUnsent()) update();
  }

  function sendOn(): void {
    if (!sendUnsent()) return;
    update();
    if (ending) endWriting(fd);
    else events?.drained();
  }

  const connection: TcpConnection = {
    write(data) {
      if (!open || ending || data.length === 0) return !blocked;
      const isLong = typeof data === "string" && data.length > MAX_GATHERED;
      unsent.push(isLong ? Buffer.from(data, "latin1") : blocked ? lasting(data) : data);
      unsentBytes += data.length;
      if (blocked) return false;
      if (unsentBytes > LONG) sendWaiting();
      else if (unsent.length === 1) sendLater(sendWaiting);
      return !blocked;
    },
    isBlocked: () => blocked,
    setReading(next) {
      if (!open) return;
      reading = next;
      update();
    },
    end() {
      if (!open || ending) return;
      sendWaiting();
      ending = true;
      if (!blocked) endWriting(fd);
    },
    destroy() {
      if (open) sendWaiting();
      if (open && blocked) resetOnClose(fd);
      close();
    },
    abort() {
      if (open) resetOnClose(fd);
      close();
    },
  };
  events = attach(connection);
  return connection;
}
