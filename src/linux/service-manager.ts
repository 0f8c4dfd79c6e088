import { sendDatagram } from "./libc.ts";

/** What a service tells the manager that started it: sd_notify(3). Where there is no manager that listens, nothing happens. */
export interface ServiceManager {
  /** Started, or done with reloading. */
  ready(): void;
  /** Begins to reload. */
  reloading(): void;
  stopping(): void;
  /** A line for people, in `systemctl status`. */
  status(text: string): void;
  /** Ends the signs of life. */
  close(): void;
}

/** The variables by which the manager says how it wants to be told (sd_notify(3), sd_watchdog_enabled(3)). */
export type ManagerVariables = Partial<Record<"NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID", string>>;

/**
 * Begins to speak to the service manager: from now on it gets signs of life where it wants them, twice in its time limit. `onFailure` is called
 * when it cannot be told something.
 */
export function openServiceManager(
  variables: ManagerVariables,
  onFailure: (error: Error) => void,
): ServiceManager {
  const { NOTIFY_SOCKET: socket = "" } = variables;
  function tell(...lines: string[]): void {
    // Others than paths and abstract names (vsock) are of no use to a service on this machine.
    if (!/^[/@]./.test(socket)) return;
    try {
      sendDatagram(socket, Buffer.from(lines.join("\n")));
    } catch (error) {
      onFailure(error as Error);
    }
  }

  const interval = watchdogInterval(variables);
  const watchdog = interval === undefined ? undefined : setInterval(() => tell("WATCHDOG=1"), interval);
  return {
    ready: () => tell("READY=1"),
    reloading: () => tell("RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => tell("STOPPING=1"),
    // One line: a line break would begin another variable.
    status: (text) => tell(`STATUS=${text.replaceAll(/\s+/g, " ")}`),
    close: () => clearInterval(watchdog),
  };
}

/** The longest interval of setInterval, in ms. */
const MAX_TIMER = 2 ** 31 - 1;

/** How often to give a sign of life, in ms; undefined where none is wanted of this process. */
export function watchdogInterval(
  { WATCHDOG_USEC, WATCHDOG_PID }: ManagerVariables,
  pid = process.pid,
): number | undefined {
  if (WATCHDOG_USEC === undefined || !/^[1-9]\d*$/.test(WATCHDOG_USEC)) return undefined;
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(pid)) return undefined;
  return Math.min(Math.max(1, Math.floor(Number(WATCHDOG_USEC) / 2000)), MAX_TIMER);
}
