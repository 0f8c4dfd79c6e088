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
