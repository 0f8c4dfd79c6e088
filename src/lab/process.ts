import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { labPath } from "./requirements.ts";

/** What a command may be given. */
export interface CommandOptions {
  /** Added to this process's environment. */
  env?: Record<string, string>;
  /** Working folder, as the lab sees it; this process's own unless given. */
  cwd?: string;
  /** Written to the command's standard input, which is empty otherwise. */
  input?: string;
}

/** What `run` may be given besides. */
export interface RunOptions extends CommandOptions {
  /** Milliseconds after which the command is killed and `run` throws; 60 s unless given. */
  timeout?: number;
}

/** How a process ended: `code` is null when a signal ended it. */
export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What a command that has ended left. */
export interface RunResult extends ExitStatus {
  stdout: string;
  stderr: string;
}

/** A long-lived process of the lab. It dies with the lab, however that ends. */
export interface LabProcess {
  /** Process id as seen from outside of the lab; undefined when the process ended as soon as it was started. */
  readonly pid: number | undefined;
  /** Resolves when the process has ended and its output has been read. Never rejects. */
  readonly ended: Promise<ExitStatus>;
  /** Everything written so far, to standard output and to standard error. */
  stdout(): string;
  stderr(): string;
  /**
   * The first line, of those already written and those to come, on standard output or standard error, that matches.
   * Throws when the process ends without one, or `timeout` milliseconds (60 s unless given) pass.
   */
  waitForLine(pattern: RegExp, timeout?: number): Promise<string>;
  /** Sends a signal; to a process that has ended it does nothing. */
  kill(signal: NodeJS.Signals): void;
  /** Sends a signal (SIGTERM unless given) and waits for the end; after 10 s it kills the process and throws. */
  stop(signal?: NodeJS.Signals): Promise<ExitStatus>;
}

/** How long a process may take to follow a signal, in milliseconds. */
const STOP_TIMEOUT = 10_000;

/**
 * Tells on descriptor 3 that it has been forked, then becomes the command. nsenter forks to enter a process
 * namespace, so the command's process id is known only once this has run.
 */
const ANNOUNCE = 'echo forked >&3; exec "$@" 3>&-';

/** The one child of a process; undefined when the process or its child has ended. */
export function onlyChild(pid: number): number | undefined {
  try {
    const child = Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, "ascii"), 10);
    return Number.isNaN(child) ? undefined : child;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** Sends a signal; that the process has ended meanwhile is no error. */
function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** What went wrong with a command, and what the command itself said. */
function complaint(
  argv: readonly string[],
  problem: string,
  output: { stdout: string; stderr: string },
): Error {
  return new Error(`"${argv.join(" ")}" ${problem}\n${output.stdout}${output.stderr}`.trimEnd());
}

/** Rejects with `late()` when the promise takes longer than `timeout` milliseconds. */
async function withTimeout<T>(promise: Promise<T>, timeout: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const alarm = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), timeout);
  });
  return Promise.race([promise, alarm]).finally(() => clearTimeout(timer));
}

/**
 * Starts `argv` in the namespaces that `enter`, arguments of nsenter, tells. Resolves once it runs, or has ended
 * already.
 */
export async function startProcess(
  enter: readonly string[],
  argv: readonly string[],
  { env, cwd = process.cwd(), input = "" }: CommandOptions = {},
): Promise<LabProcess> {
  const child = spawn("nsenter", [...enter, `--wdns=${cwd}`, "/bin/sh", "-c", ANNOUNCE, "sh", ...argv], {
    env: { ...process.env, PATH: labPath(), ...env },
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  const lines: string[] = [];
  const events = new EventEmitter();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
    createInterface({ input: child[name] }).on("line", (line) => {
      lines.push(line);
      events.emit("line", line);
    });
  }
  // A command that does not read its input, or ends before it has, is no error of ours.
  child.stdin.on("error", () => {});
  child.stdin.end(input);

  let running = true;
  const ended = new Promise<ExitStatus>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => {
      running = false;
    });
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const forked = new Promise<void>((resolve) => {
    (child.stdio[3] as Readable).once("data", () => resolve());
  });
  await Promise.race([forked, ended]);
  const pid = running ? onlyChild(child.pid!) : undefined;

  const kill = (signal: NodeJS.Signals) => {
    if (running && pid !== undefined) signalProcess(pid, signal);
  };
  return {
    pid,
    ended,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill,
    async waitForLine(pattern, timeout = 60_000) {
      const written = lines.find((line) => pattern.test(line));
      if (written !== undefined) return written;
      let listener = (_line: string) => {};
      const line = new Promise<string>((resolve) => {
        listener = (line) => {
          if (pattern.test(line)) resolve(line);
        };
        events.on("line", listener);
      });
      const end = ended.then((): never => {
        throw complaint(argv, `ended before it wrote a line that matches ${pattern}`, output);
      });
      return withTimeout(Promise.race([line, end]), timeout, () =>
        complaint(argv, `wrote no line that matches ${pattern} within ${timeout} ms`, output),
      ).finally(() => events.off("line", listener));
    },
    async stop(signal = "SIGTERM") {
      kill(signal);
      return withTimeout(ended, STOP_TIMEOUT, () => {
        kill("SIGKILL");
        return complaint(argv, `did not end within ${STOP_TIMEOUT} ms of ${signal}`, output);
      });
    },
  };
}

/** Runs `argv` to its end. A status other than 0 is no error here. */
export async function runProcess(
  enter: readonly string[],
  argv: readonly string[],
  { timeout = 60_000, ...options }: RunOptions = {},
): Promise<RunResult> {
  const child = await startProcess(enter, argv, options);
  const status = await withTimeout(child.ended, timeout, () => {
    child.kill("SIGKILL");
    return complaint(argv, `did not end within ${timeout} ms`, {
      stdout: child.stdout(),
      stderr: child.stderr(),
    });
  });
  return { ...status, stdout: child.stdout(), stderr: child.stderr() };
}
