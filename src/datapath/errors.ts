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
