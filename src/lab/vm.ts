/**
 * A real virtual machine as a guest: virtio-net on a tap, and a root filesystem that holds busybox alone. Up in about 4 s; it
 * runs a script and powers off.
 */
import type { Lab } from "./lab.ts";
import { bootMachine, machineProblems, runScript, succeed, VIRTIO_MODULES, type VmResult } from "./qemu.ts";
import { type GuestSpec, guestCommands, planGuest } from "./topology.ts";

/** A VM as asked for. The host holds the gateway address, on the tap. */
export interface VmSpec extends Pick<GuestSpec, "behaviour" | "address" | "gateway" | "mac"> {
  /** The tap, which is the VM's vif: it is made when it is not there. At most 15 characters. */
  tapName: string;
  /** What the VM runs, for busybox's sh, as root, once its network is up. */
  script: string;
  /** Milliseconds from power on to power off; 60 s unless given. */
  timeout?: number;
}

const MODULES = [...VIRTIO_MODULES, "failover", "net_failover", "virtio_net"];

/** Why no VM can be booted here, a sentence with its mend for each reason. Empty when one can. */
export function vmProblems(): string[] {
  return machineProblems(MODULES);
}

/** Boots a VM, lets it run its script, and returns what it wrote when it has powered off. It dies with the lab. */
export async function bootVm(lab: Lab, spec: VmSpec): Promise<VmResult> {
  const problems = vmProblems();
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const { tapName, script, timeout = 60_000, ...guest } = spec;
  const plan = planGuest({ ...guest, name: "vm", link: "tap" });

  const { code: there } = await lab.host.run(["ip", "link", "show", tapName]);
  if (there !== 0) {
    const prefixLength = spec.address.split("/")[1];
    await succeed(
      lab,
      ["ip", "-batch", "-"],
      `tuntap add dev ${tapName} mode tap vnet_hdr
       link set ${tapName} up
       addr add ${spec.gateway}/${prefixLength} dev ${tapName}\n`,
    );
  }
  const network = guestCommands(plan).map((command) => `ip ${command}\n`);
  return bootMachine(lab, {
    name: tapName,
    modules: MODULES,
    init: network.join("") + runScript("sh /script"),
    script,
    memory: 256,
    devices: [
      ...["-netdev", `tap,id=eth0,ifname=${tapName},script=no,downscript=no,vhost=off`],
      ...["-device", `virtio-net-pci,netdev=eth0,mac=${plan.mac}`],
    ],
    timeout,
  });
}
