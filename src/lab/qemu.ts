/** QEMU in software emulation, with Debian's cloud kernel and a first root filesystem in memory (busybox and modules). */
import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Lab } from "./lab.ts";
import { missingTools } from "./requirements.ts";

/** What a VM that has powered off left. */
export interface VmResult {
  /** Exit status of the script. */
  code: number;
  /** What the script wrote. */
  output: string;
  /** All of the serial console. */
  console: string;
}

/** A VM to boot. */
export interface MachineSpec {
  /** Names its files in the lab's /run. */
  name: string;
  /** Modules to load, in the order in which they need each other. */
  modules: readonly string[];
  /** What process 1, busybox's sh, does once modules are loaded; `runScript` is to be the end of it. */
  init: string;
  /** The file `/script` of the first root filesystem. */
  script: string;
  /** Megabytes of memory. */
  memory: number;
  /** More arguments of QEMU: the devices. */
  devices: readonly string[];
  /** Milliseconds from power on to power off. */
  timeout: number;
}

/** Modules of the PCI bus that virtio devices sit on. */
export const VIRTIO_MODULES: readonly string[] = [
  "virtio_ring",
  "virtio",
  "virtio_pci_modern_dev",
  "virtio_pci_legacy_dev",
  "virtio_pci",
];

const KERNEL_FOLDER = fileURLToPath(new URL("../../.cache/vm", import.meta.url));
const BUSYBOX = "/bin/busybox";

const BEGIN = "==== script begins";
const END = "==== script ends:";

/** Why no VM can be booted here, a sentence with its mend for each reason. Empty when one can. */
export function machineProblems(modules: readonly string[]): string[] {
  const problems = missingTools([
    ["qemu-system-x86_64", "qemu-system-x86"],
    ["busybox", "busybox-static"],
    ["cpio", "cpio"],
  ]);
  const files = ["vmlinuz", ...modules.map((module) => `modules/${module}.ko`)];
  if (!files.every((file) => existsSync(join(KERNEL_FOLDER, file))))
    problems.push("the kernel for VMs is not there; run: scripts/fetch-vm-kernel.sh");
  return problems;
}

/** The end of a process 1, for a shell: runs a command, marks on the console what it writes, powers off. */
export function runScript(command: string): string {
  return `echo '${BEGIN}'\n${command}\necho "${END} $?"\n${BUSYBOX} poweroff -f\n`;
}

/** Runs a command on the lab's host that must succeed. */
export async function succeed(lab: Lab, argv: readonly string[], input?: string): Promise<void> {
  const { code, stderr } = await lab.host.run(argv, input === undefined ? {} : { input });
  if (code !== 0) throw new Error(`the VM could not be made: ${stderr.trim()}`);
}

/** Packs the first root filesystem (a cpio archive, as the kernel takes it); returns its path as the lab sees it. */
async function makeInitramfs(lab: Lab, { name, modules, init, script }: MachineSpec): Promise<string> {
  const folder = `/run/lab-vm/${name}`;
  const outside = lab.root + folder;
  for (const subfolder of ["bin", "dev", "proc", "sys", "modules"])
    await mkdir(join(outside, subfolder), { recursive: true });
  await copyFile(BUSYBOX, join(outside, "bin/busybox"));
  for (const module of modules)
    await copyFile(join(KERNEL_FOLDER, "modules", `${module}.ko`), join(outside, "modules", `${module}.ko`));
  const first = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in ${modules.join(" ")}; do insmod /modules/$module.ko; done
`;
  await writeFile(join(outside, "init"), first + init, { mode: 0o755 });
  await writeFile(join(outside, "script"), script);
  const archive = `${folder}.cpio`;
  await succeed(lab, ["/bin/sh", "-c", `cd ${folder} && find . | cpio --quiet -o -H newc >${archive}`]);
  return archive;
}

/** Boots a VM, lets it run its script, and returns what it wrote when it has powered off. It dies with the lab. */
export async function bootMachine(lab: Lab, spec: MachineSpec): Promise<VmResult> {
  const problems = machineProblems(spec.modules);
  if (problems.length > 0) throw new Error(problems.join("\n"));
  const { stdout, stderr } = await lab.host.run(
    [
      ...[
        "qemu-system-x86_64",
        "-M",
        "q35,accel=tcg",
        "-cpu",
        "max",
        "-m",
        String(spec.memory),
        "-no-reboot",
      ],
      ...["-nodefaults", "-display", "none", "-serial", "stdio"],
      ...["-kernel", join(KERNEL_FOLDER, "vmlinuz"), "-initrd", await makeInitramfs(lab, spec)],
      ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off"],
      ...spec.devices,
    ],
    { timeout: spec.timeout },
  );
  const console = stdout.replaceAll("\r", "");
  const [, output, code] = new RegExp(`^${BEGIN}\\n(.*?)^${END} (\\d+)$`, "ms").exec(console) ?? [];
  if (output === undefined)
    throw new Error(`the VM ended before its script did:\n${console}${stderr}`.trimEnd());
  return { code: Number(code), output, console };
}
