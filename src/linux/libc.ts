/**
 * The system calls that onlink needs and Node.js lacks, as plain libc functions. Errors throw `SystemError`.
 * The only file of this folder that imports koffi.
 */
import { closeSync, openSync, statfsSync } from "node:fs";
import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const c = {
  flock: libc.func("int flock(int fd, int operation)"),
  mount: libc.func(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: libc.func("int umount2(const char *target, int flags)"),
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

/** Returns what the call gave, or throws the errno it left. Must be given the result right after the call. */
function checked(result: number, syscall: string, sentence: string): number {
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
  let fd: number | undefined = openSync(path, "a", 0o600);
  if (c.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const errno = koffi.errno();
    closeSync(fd);
    if (errno === constants.errno.EWOULDBLOCK) {
      return undefined;
    }
    throw new SystemError("flock", errno, `cannot lock ${path}`);
  }
  return {
    release() {
      if (fd !== undefined) {
        closeSync(fd);
        fd = undefined;
      }
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

/** Unmounts what is mounted on a path. */
export function unmount(path: string): void {
  checked(c.umount2(path, 0), "umount2", `cannot unmount ${path}`);
}
