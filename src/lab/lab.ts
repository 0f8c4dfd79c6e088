/**
 * A lab: a host, its fabric and its guests as network namespaces, for the demo, the end-to-end tests and the
 * benchmarks.
 *
 * One process holds it all, the *holder*: process 1 of a process namespace of its own, in a mount and a network
 * namespace of its own, that reads its standard input until the end. When the input is closed, by `close` or by the
 * end of this process (SIGKILL included), the holder ends; the kernel then kills every process of the lab and drops
 * what hung on them: namespaces, links, mounts, pinned programs. Nothing outlives the lab, and no clean-up code has
 * to run for it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type CommandOptions,
  type LabProcess,
  onlyChild,
  type RunOptions,
  type RunResult,
  runProcess,
  startProcess,
} from "./process.ts";
import { openRawTap, type RawTap } from "./raw-tap.ts";
import { labPath, labProblems } from "./requirements.ts";
import {
  type BridgeSpec,
  bridgeCommands,
  type FabricSpec,
  fabricCommands,
  type GuestPlan,
  type GuestSpec,
  guestCommands,
  hostCommands,
  planGuest,
} from "./topology.ts";

/** A network namespace of a lab, in which commands run. */
export interface Namespace {
  /** Runs a command to its end. A status other than 0 is no error here. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Starts a long-lived process. */
  start(argv: readonly string[], options?: CommandOptions): Promise<LabProcess>;
}

/** A guest; its interface is `eth0`. */
export interface Guest extends Namespace, GuestPlan {}

/** A fabric; the interface on its side is `eth0`, the host's bears the fabric's name. */
export interface Fabric extends Namespace, FabricSpec {}

/** An open lab. Leave the scope of an `await using`, or call `close`, to end it. */
export interface Lab extends AsyncDisposable {
  /** The host's namespace: where vifs, the agent and host-local backends are. */
  readonly host: Namespace;
  /**
   * The lab's root folder as seen from outside. In it `/run` and `/var/lib` are the lab's own, and empty at first.
   */
  readonly root: string;
  /** The host's network namespace, as a path to open. */
  readonly hostNamespace: string;
  addFabric(spec: FabricSpec): Promise<Fabric>;
  addBridge(spec: BridgeSpec): Promise<void>;
  addGuest(spec: GuestSpec): Promise<Guest>;
  /** Many guests at once, much faster than one by one. */
  addGuests(specs: readonly GuestSpec[]): Promise<Guest[]>;
  /** A tap on the host, up, whose guest is the caller. */
  rawTap(name: string): Promise<RawTap>;
  /** Ends every process of the lab and waits until they are gone. */
  close(): Promise<void>;
}

/**
 * Mounts what a host has of its own, says so, and waits for the end of its input. The files of the real host can only be read,
 * but for /tmp: a DHCP client in a guest, for one, would write /etc/resolv.conf. SIGCHLD is ignored so that the kernel reaps orphans, which
 * fall to process 1.
 */
const HOLDER = `
set -e
mount --bind /tmp /tmp
mount -o remount,bind,ro /
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 lab /run
mount -t tmpfs -o mode=755 lab /var/lib
mkdir /run/netns
ip link set lo up
echo ready
exec env --ignore-signal=CHLD cat >/dev/null
`;

/**
 * The path of a compiled file of this folder; processes of a lab run the build, whether this module itself does or
 * not.
 */
export function builtFile(name: string): string {
  return fileURLToPath(new URL(`../../dist/lab/${name}`, import.meta.url));
}

/** One shell script of `ip -batch` runs, each in its namespace (undefined: the host's). */
function batchScript(batches: ReadonlyArray<{ namespace?: string; commands: readonly string[] }>): string {
  return batches
    .map(({ namespace, commands }) => {
      const ip = namespace === undefined ? "ip" : `ip -n ${namespace}`;
      return `${ip} -batch - <<'END' || { echo 'in a batch of: ${ip}' >&2; exit 1; }\n${commands.join("\n")}\nEND\n`;
    })
    .join("");
}

/** Opens a lab: a host with a loopback and nothing else. Throws what `labProblems` finds. */
export async function openLab(): Promise<Lab> {
  const problems = labProblems();
  if (problems.length > 0) throw new Error(problems.join("\n"));

  const unshare = spawn(
    "unshare",
    [
      ...["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"],
      ...["/bin/sh", "-c", HOLDER],
    ],
    { env: { ...process.env, PATH: labPath() }, stdio: ["pipe", "pipe", "pipe"] },
  );
  const ended = once(unshare, "close");
  let complaint = "";
  unshare.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  await Promise.race([once(unshare.stdout, "data"), ended]);
  const holder = unshare.exitCode === null ? onlyChild(unshare.pid!) : undefined;
  if (holder === undefined) throw new Error(`the lab's namespaces could not be made: ${complaint.trim()}`);

  const root = `/proc/${holder}/root`;
  const hostNamespace = `/proc/${holder}/ns/net`;
  const processes = new Set<LabProcess>();
  const taps = new Set<RawTap>();
  const gateways = new Set<string>();

  function namespaceAt(path: string): Namespace {
    const enter = [`--target=${holder}`, "--mount", "--pid", `--net=${path}`];
    return {
      run: (argv, options) => runProcess(enter, argv, options),
      async start(argv, options) {
        const started = await startProcess(enter, argv, options);
        processes.add(started);
        void started.ended.then(() => processes.delete(started));
        return started;
      },
    };
  }
  const named = (name: string) => namespaceAt(`${root}/run/netns/${name}`);
  const host = namespaceAt(hostNamespace);

  async function configure(batches: Parameters<typeof batchScript>[0]): Promise<void> {
    const { code, stderr } = await host.run(["/bin/sh"], { input: batchScript(batches), timeout: 60_000 });
    if (code !== 0) throw new Error(`the lab could not be laid out: ${stderr.trim()}`);
  }

  /** A gateway address on two vifs would make the host's own answers go to the first of them. */
  function claimGateway(guest: GuestPlan): void {
    if (!guest.gatewayOnHost || guest.bridge !== undefined) return;
    if (gateways.has(guest.gateway))
      throw new Error(
        `guest "${guest.name}": another vif holds ${guest.gateway} already; give the guest gatewayOnHost: false`,
      );
    gateways.add(guest.gateway);
  }

  /** Gives a tap guest its eth0, and carries frames between it and the vif. */
  async function startPump({ name, vif }: GuestPlan): Promise<void> {
    const pump = await host.start([
      process.execPath,
      builtFile("tap-pump.js"),
      vif,
      `/run/netns/${name}`,
      "eth0",
    ]);
    await pump.waitForLine(/^ready$/);
  }

  async function addGuests(specs: readonly GuestSpec[]): Promise<Guest[]> {
    const plans = specs.map(planGuest);
    plans.forEach(claimGateway);
    await configure([{ commands: plans.flatMap(hostCommands) }]);
    await Promise.all(plans.filter(({ link }) => link === "tap").map(startPump));
    await configure(plans.map((plan) => ({ namespace: plan.name, commands: guestCommands(plan) })));
    return plans.map((plan) => ({ ...plan, ...named(plan.name) }));
  }

  async function rawTap(name: string): Promise<RawTap> {
    const namespace = openSync(hostNamespace, "r");
    const tap = openRawTap(name, namespace);
    closeSync(namespace);
    taps.add(tap);
    await configure([{ commands: [`link set ${name} up`] }]);
    return tap;
  }

  async function close(): Promise<void> {
    // An open tap would keep the host's namespace.
    for (const tap of taps) tap.close();
    unshare.stdin.end();
    await ended;
    await Promise.all([...processes].map((started) => started.ended));
  }

  return {
    host,
    root,
    hostNamespace,
    async addFabric(spec) {
      const commands = fabricCommands(spec);
      await configure([{ commands: commands.host }, { namespace: spec.name, commands: commands.fabric }]);
      return { ...spec, ...named(spec.name) };
    },
    addBridge: (spec) => configure([{ commands: bridgeCommands(spec) }]),
    addGuest: async (spec) => (await addGuests([spec]))[0]!,
    addGuests,
    rawTap,
    close,
    [Symbol.asyncDispose]: close,
  };
}
