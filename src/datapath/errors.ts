/** An error of the datapath's loader: what was tried, what the kernel or libbpf said, and, where there is one, the mend. */
export class DatapathError extends Error {
  override readonly name = "DatapathError";
  /** errno as a positive number, 0 when the kernel gave none. */
  readonly errno: number;
  constructor(message: string, errno = 0) {
    super(message);
    this.errno = errno;
  }
}

/** Of several writes to a map, the one at `index` failed: those before it are done, those after it are not. */
export class EntryError extends DatapathError {
  readonly index: number;
  constructor({ message, errno }: DatapathError, index: number) {
    super(message, errno);
    this.index = index;
  }
}

/** Does several writes, and notes those of `some` that were done: all, or those before the one of which an `EntryError` tells. */
export function noteWritten<T>(some: readonly T[], write: () => void, note: (one: T) => void): void {
  let done = some.length;
  try {
    write();
  } catch (error) {
    done = error instanceof EntryError ? error.index : 0;
    throw error;
  } finally {
    for (const one of some.slice(0, done)) note(one);
  }
}
