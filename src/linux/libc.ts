/**
 * The system calls that onlink needs and Node.js lacks, as plain libc functions. Errors throw `SystemError`.
 * Apart from `socket-calls.ts` the only file of this folder that imports koffi.
 */
import { closeSync, fstatSync, openSync, statfsSync, statSync } from "node:fs";
import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { readU32, writeU16, writeU32 } from "./netlink.ts";

const libc = koffi.load(null);
const c = {
  flock: libc.func("int flock(int fd, int operation)"),
  mount: libc.func(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: libc.func("int umount2(const char *target, int flags)"),
  socket: libc.func("int socket(int domain, int type, int protocol)"),
  bind: libc.func("int bind(int fd, const void *address, unsigned int length)"),
  sendto: libc.func(
    "long sendto(int fd, const void *data, size_t size, int flags, const void *address, unsigned int length)",
  ),
  setsockopt: libc.func("int setsockopt(int fd, int level, int name, const int *value, unsigned int length)"),
  ioctl: libc.func("int ioctl(int fd, unsigned long request, void *argument)"),
  setns: libc.func("int setns(int fd, int type)"),
  unshare: libc.func("int unshare(int flags)"),
  eventfd: libc.func("int eventfd(unsigned int value, int flags)"),
  epollCreate: libc.func("int epoll_create1(int flags)"),
  epollControl: libc.func("int epoll_ctl(int epoll, int operation, int fd, const void *event)"),
  epollWait: libc.func("int epoll_wait(int epoll, void *events, int capacity, int timeout)"),
};

/** A system call that failed. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** The call, such as `"mount"`, or the netlink request, such as `"RTM_NEWLINK"`. */
  readonly syscall: string;
  /** The name of the errno value, such as `"EPERM"`. */
  readonly code: string;

  /** `sentence` says what could not be done, and the mend where there is one; the code is added to it. */
  constructor(syscall: string, errno: number, sentence: string) {
    const code = errnoName(errno);
    super(`${sentence} (${syscall}: ${code})`);
    this.syscall = syscall;
    this.code = code;
  }
}

function errnoName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return name.startsWith("Unknown") ? `errno ${errno}` : name;
}

/** Returns what the call gave, or throws the errno that it left. */
export function checked(result: number, syscall: string, sentence: string): number {
  if (result < 0) {
    throw new SystemError(syscall, koffi.errno(), sentence);
  }
  return result;
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes an exclusive lock (flock(2)) on a file, which is made when missing and stays when the lock is released.
 * The kernel releases it when the process ends, however it ends. Undefined when somebody else holds it.
 */
export function lockFile(path: string): { release(): void } | undefined {
  for (;;) {
    const lock = lockFileOnce(path);
    if (lock === undefined || isFileAt(lock.fd, path)) return lock;
    // Its holder has removed the file between our opening and locking it: the lock is that of a file which nobody else can find.
    lock.release();
  }
}

/** Whether an open file is the one that is found at a path now. */
export function isFileAt(fd: number, path: string): boolean {
  const open = fstatSync(fd);
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.dev === open.dev && found.ino === open.ino;
}

function lockFileOnce(path: string): { fd: number; release(): void } | undefined {
  const fd = openSync(path, "a", 0o600);
  if (c.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const errno = koffi.errno();
    closeSync(fd);
    if (errno === constants.errno.EWOULDBLOCK) {
      return undefined;
    }
    throw new SystemError("flock", errno, `cannot lock ${path}`);
  }
  let held = true;
  return {
    fd,
    release() {
      if (held) closeSync(fd);
      held = false;
    },
  };
}

const BPF_FS_MAGIC = 0xcafe4a11;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;

/** Mounts a BPF file system on a folder that is there. `mode` is that of its root, such as 0o700. */
export function mountBpffs(path: string, mode: number): void {
  checked(
    c.mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, `mode=${mode.toString(8)}`),
    "mount",
    `cannot mount a BPF file system on ${path}; it takes root (CAP_SYS_ADMIN), a folder and a kernel with CONFIG_BPF_SYSCALL`,
  );
}

/** Is this path on a BPF file system? False when there is nothing at the path. */
export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return false;
    }
    throw error;
  }
}

const MNT_DETACH = 2;

/** Unmounts what is mounted on a path. `detach`: takes it off the path now, and ends it with its last open file. */
export function unmount(path: string, { detach = false } = {}): void {
  checked(c.umount2(path, detach ? MNT_DETACH : 0), "umount2", `cannot unmount ${path}`);
}

const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;

/**
 * Opens a rtnetlink socket in the network namespace of the calling thread. `fs.writeSync` sends on it, `fs.readSync`
 * receives, `fs.closeSync` closes. `groups` has bit n-1 set for the multicast group n.
 */
export function openNetlinkSocket(options: { groups: number; nonBlocking: boolean }): number {
  const type = SOCK_RAW | SOCK_CLOEXEC | (options.nonBlocking ? SOCK_NONBLOCK : 0);
  const fd = checked(c.socket(AF_NETLINK, type, NETLINK_ROUTE), "socket", "cannot open a netlink socket");
  try {
    setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    // struct sockaddr_nl: family, pad, port (0: the kernel picks one), groups.
    const address = Buffer.alloc(12);
    writeU16(address, AF_NETLINK);
    writeU32(address, options.groups, 8);
    checked(c.bind(fd, address, address.length), "bind", "cannot bind a netlink socket");
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** Sets the size of a socket's receive queue: beyond net.core.rmem_max with CAP_NET_ADMIN, else up to it. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  if (c.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, [bytes], 4) < 0) {
    setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}

function setOption(fd: number, level: number, option: number, value: number): void {
  checked(
    c.setsockopt(fd, level, option, [value], 4),
    "setsockopt",
    `cannot set option ${option} of level ${level} on a socket`,
  );
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** Sends one datagram to a UNIX socket: a path, or an abstract name with `@` in place of the zero byte (unix(7)). Waits for nobody. */
export function sendDatagram(name: string, data: Uint8Array): void {
  const fd = checked(c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket", "cannot open a UNIX socket");
  try {
    // struct sockaddr_un: family, name. An abstract name ends with the length, a path with a zero byte.
    const isAbstract = name.startsWith("@");
    const address = Buffer.from(`\0\0${isAbstract ? `\0${name.slice(1)}` : `${name}\0`}`);
    writeU16(address, AF_UNIX);
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const sent = c.sendto(fd, data, data.length, flags, address, address.length);
    checked(sent, "sendto", `cannot send to the UNIX socket ${name}`);
  } finally {
    closeSync(fd);
  }
}

/** ioctl(2) with a buffer that the kernel reads and writes. */
export function ioctl(fd: number, request: number, argument: Buffer, sentence: string): void {
  checked(c.ioctl(fd, request, argument), "ioctl", sentence);
}

const CLONE_NEWNET = 0x40000000;

/** Moves the calling thread to a network namespace. Use `inNetworkNamespace`, which comes back. */
export function enterNetworkNamespace(fd: number): void {
  checked(
    c.setns(fd, CLONE_NEWNET),
    "setns",
    "cannot enter the network namespace; it takes root (CAP_SYS_ADMIN)",
  );
}

/** Moves the calling thread to a new network namespace. Use `makeNetworkNamespace`, which comes back. */
export function unshareNetworkNamespace(): void {
  checked(
    c.unshare(CLONE_NEWNET),
    "unshare",
    "cannot make a network namespace; it takes root (CAP_SYS_ADMIN)",
  );
}

const EPOLL_CLOEXEC = SOCK_CLOEXEC;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EFD_NONBLOCK = SOCK_NONBLOCK;
const EFD_CLOEXEC = SOCK_CLOEXEC;
const EPOLL_CAPACITY = 64;
/** struct epoll_event, of which the file descriptor is the data; it is packed on x86-64 alone. */
const EPOLL_EVENT = process.arch === "x64" ? { size: 12, data: 4 } : { size: 16, data: 8 };

/** A set of file descriptors to wait for until one can be read: epoll(7). */
export interface Epoll {
  add(fd: number): void;
  remove(fd: number): void;
  /** Those that can be read now or have an error; at most 64. */
  ready(): number[];
  /** Calls back when `ready` may have something to tell. Takes a thread of libuv's pool as long as it waits. */
  wait(callback: () => void): void;
}

/** Makes an empty set, which stays until the process ends. */
export function openEpoll(): Epoll {
  const epoll = checked(c.epollCreate(EPOLL_CLOEXEC), "epoll_create1", "cannot wait for file descriptors");
  const unread = Buffer.alloc(EPOLL_EVENT.size * EPOLL_CAPACITY);
  const events = Buffer.alloc(EPOLL_EVENT.size * EPOLL_CAPACITY);
  const control = (operation: number, fd: number) => {
    const event = Buffer.alloc(EPOLL_EVENT.size);
    writeU32(event, EPOLLIN);
    writeU32(event, fd, EPOLL_EVENT.data);
    checked(
      c.epollControl(epoll, operation, fd, event),
      "epoll_ctl",
      `cannot wait for file descriptor ${fd}`,
    );
  };
  return {
    add: (fd) => control(EPOLL_CTL_ADD, fd),
    remove: (fd) => control(EPOLL_CTL_DEL, fd),
    ready() {
      const count = checked(
        c.epollWait(epoll, events, EPOLL_CAPACITY, 0),
        "epoll_wait",
        "cannot wait for file descriptors",
      );
      return Array.from({ length: count }, (_, i) =>
        readU32(events, i * EPOLL_EVENT.size + EPOLL_EVENT.data),
      );
    },
    wait(callback) {
      // The result is left alone: errno is that of another thread, and `ready` meets the same error if it lasts.
      c.epollWait.async(epoll, unread, EPOLL_CAPACITY, -1, callback);
    },
  };
}

/** A counter that a thread can wait for, eventfd(2): readable once 8 bytes (a number above 0) are written. */
export function openEvent(): number {
  return checked(c.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd", "cannot open an event counter");
}
