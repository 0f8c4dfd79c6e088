/** What the exit status of every command means. */
export const EXIT = {
  ok: 0,
  /** It could not be done, or a check failed; the reason is on standard error. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was touched. */
  badInput: 2,
  /** No agent answers. */
  noAgent: 3,
} as const;

/** For the help of each command. */
export const EXIT_HELP = `
Exit status:
  0  done
  1  could not be done, or a check failed
  2  the command line or the configuration is wrong; nothing was touched
  3  no agent answers (commands that ask it)`;

/** The same for `explain`, whose answer is its exit status. */
export const EXPLAIN_EXIT_HELP = `
Exit status:
  0  reachable, as far as the guest's tables tell
  1  not reachable
  2  the input was not understood, or the command line is wrong`;

/** The same for `why`, whose answer is its exit status. */
export const WHY_EXIT_HELP = `
Exit status:
  0  nothing is broken, as far as the host has seen
  1  something is broken: the first broken link is named
  2  no guest is meant, or several are; or the command line is wrong
  3  no agent answers`;

/** The same for `import`, which tells what it could not carry over. */
export const IMPORT_EXIT_HELP = `
Exit status:
  0  everything was carried over
  1  something was left out: standard error and the comments in the file say what
  2  the input was not understood, or the command line is wrong; nothing was written`;
