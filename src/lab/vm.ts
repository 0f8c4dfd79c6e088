/**
 * A real virtual machine as a guest: QEMU in software emulation, virtio-net on a tap, Debian's cloud kernel and a
 * root filesystem in memory that holds busybox and the modules of virtio. Up in about 4 s; it runs a script and
 * powers off.
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Lab } from "./lab.ts";
import { missingTools } from "./requirements.ts";
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

/** What a VM that has powered off left. */
export interface VmResult {
  /** Exit status of the script. */
  code: number;
  /** What the script wrote. */
  output: string;
  /** All of the serial console. */
  console: string;
}

const KERNEL_FOLDER = fileURLToPath(new URL("../../.cache/vm", import.meta.url));
const BUSYBOX = "/bin/busybox";

/** In the order in which they need each other. */
const MODULES = [
  "virtio_ring",
  "virtio",
  "virtio_pci_modern_dev",
  "virtio_pci_legacy_dev",
  "virtio_pci",
  "failover",
  "net_failover",
  "virtio_net",
];

const BEGIN = "==== script begins";
const END = "==== script ends:";

/** Why no VM can be booted here, a sentence with its mend for each reason. Empty when one can. */
export function vmProblems(): string[] {
  const problems = missingTools([
    ["qemu-system-x86_64", "qemu-system-x86"],
    ["busybox", "busybox-static"],
    ["cpio", "cpio"],
  ]);
  if (!existsSync(join(KERNEL_FOLDER, "vmlinuz")))
    problems.push("the kernel for VMs is not there; run: scripts/fetch-vm-kernel.sh");
  return problems;
}

/** Process 1 of the VM. */
function initScript(network: readonly string[]): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${MODULES.join(" ")}; do insmod /modules/$module.ko; done
${network.map((command) => `ip ${command}`).join("\n")}
echo '${BEGIN}'
sh /script
echo "${END} $?"
poweroff -f
`;
}

/** Packs the VM's root filesystem (a cpio archive, as the kernel takes it); returns its path as the lab sees it. */
async function makeInitramfs(lab: Lab, name: string, init: string, script: string): Promise<string> {
  const folder = `/run/lab-vm/${name}`;
  const outside = lab.root + folder;
  for (const subfolder of ["bin", "dev", "proc", "sys", "modules"])
    await mkdir(join(outside, subfolder), { recursive: true });
  await copyFile(BUSYBOX, join(outside, "bin/busybox"));
  for (const module of MODULES)
    await copyFile(join(KERNEL_FOLDER, "modules", `${module}.ko`), join(outside, "modules", `${module}.ko`));
  await writeFile(join(outside, "init"), init, { mode: 0o755 });
  await writeFile(join(outside, "script"), script);
  const archive = `${folder}.cpio`;
  await succeed(lab, ["/bin/sh", "-c", `cd ${folder} && find . | cpio --quiet -o -H newc >${archive}`]);
  return archive;
}

async function succeed(lab: Lab, argv: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await lab.host.run(argv, input === undefined ? {} : { input });
  if (code !== 0) throw new Error(`the VM could not be made: ${stderr.trim()}`);
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
  const initramfs = await makeInitramfs(lab, tapName, initScript(guestCommands(plan)), script);
  const { stdout, stderr } = await lab.host.run(
    [
      ...["qemu-system-x86_64", "-M", "q35,accel=tcg", "-cpu", "max", "-m", "256", "-no-reboot"],
      ...["-nodefaults", "-display", "none", "-serial", "stdio"],
      ...["-kernel", join(KERNEL_FOLDER, "vmlinuz"), "-initrd", initramfs],
      ...["-append", "console=ttyS0 quiet panic=-1"],
      ...["-netdev", `tap,id=eth0,ifname=${tapName},script=no,downscript=no,vhost=off`],
      ...["-device", `virtio-net-pci,netdev=eth0,mac=${plan.mac}`],
    ],
    { timeout },
  );
  const console = stdout.replaceAll("\r", "");
  const [, output, code] = new RegExp(`^${BEGIN}\\n(.*?)^${END} (\\d+)$`, "ms").exec(console) ?? [];
  if (output === undefined)
    throw new Error(`the VM ended before its script did:\n${console}${stderr}`.trimEnd());
  return { code: Number(code), output, console };
}
