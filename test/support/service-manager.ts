/** Somebody in the place of systemd, to whom the agent says what it does (sd_notify(3)). */
import type { Lab } from "../../src/lab/lab.ts";
import type { CommandOptions, LabProcess } from "../../src/lab/process.ts";

/** Writes every datagram to a UNIX socket, an abstract one, as a line, after the time when it came. */
const LISTENER = `
  use Socket;
  use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
  socket(SOCKET, PF_UNIX, SOCK_DGRAM, 0) && bind(SOCKET, pack_sockaddr_un("\\0onlink-notify")) or die $!;
  $| = 1;
  print "listening\\n";
  while (defined recv(SOCKET, $message, 4096, 0)) {
    $message =~ s/\\n/ /g;
    printf "%.6f %s\\n", clock_gettime(CLOCK_MONOTONIC), $message;
  }`;

/** The environment of a process that tells the service manager of its lab. */
export const NOTIFY: CommandOptions["env"] = { NOTIFY_SOCKET: "@onlink-notify" };

/** Begins to listen. What it is told it writes as lines such as `123.456789 READY=1`: CLOCK_MONOTONIC in s, and the message. */
export async function startServiceManager(lab: Lab): Promise<LabProcess> {
  const manager = await lab.host.start(["perl", "-e", LISTENER]);
  await manager.waitForLine(/^listening$/);
  return manager;
}
