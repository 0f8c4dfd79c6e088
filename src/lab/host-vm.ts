/**
 * This machine's files under another kernel: a virtual machine whose root is the host's own, so that what is built and
 * installed here runs there as it is. The VM mounts them read-only (virtiofs); what the VM writes stays in its memory
 * (overlayfs). It has no network card: its labs are inside it.
 */
import { existsSync } from "node:fs";
import type { Lab } from "./lab.ts";
import { bootMachine, machineProblems, runScript, VIRTIO_MODULES, type VmResult } from "./qemu.ts";
import { labPath } from "./requirements.ts";

/** What the VM is to do. */
export interface HostVmSpec {
  /** For bash, as root, in this process's working folder. */
  script: string;
  /** Milliseconds from power on to power off. */
  timeout: number;
}

/** Debian's place for it; no PATH leads there. */
const VIRTIOFSD = "/usr/lib/qemu/virtiofsd";

const MODULES = [
  ...VIRTIO_MODULES,
  ...["fuse", "virtiofs", "overlay"],
  ...["veth", "tun", "llc", "stp", "bridge", "sch_ingress", "cls_bpf"],
];

/** Megabytes. Shared with virtiofsd, and taken from the host only as the VM uses it. */
const MEMORY = 2048;

/** As the lab sees it. */
const SOCKET = "/run/host-vm.socket";

/** Process 1, until it has the host's files as its root; then the rest of it, by those. */
const INIT = `
mkdir /host /changes
mount -t virtiofs -o ro host /host
mount -t tmpfs changes /changes
mkdir /changes/files /changes/work
mount -t overlay -o lowerdir=/host,upperdir=/changes/files,workdir=/changes/work root /root
for folder in dev proc sys; do mount --move /$folder /root/$folder; done
mount -t tmpfs -o mode=755 run /root/run
cp /script /root/run/init
exec switch_root /root /bin/bash /run/init
`;

/** Why no such VM can be booted here, a sentence with its mend for each reason. Empty when one can. */
export function hostVmProblems(): string[] {
  const problems = machineProblems(MODULES);
  if (!existsSync(VIRTIOFSD))
    problems.push(`${VIRTIOFSD} is not there; run: apt-get install qemu-system-common`);
  return problems;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Boots the VM, lets it run its script, and returns what it wrote when it has powered off. One at a time in a lab, with which it dies. */
export async function bootHostVm(lab: Lab, { script, timeout }: HostVmSpec): Promise<VmResult> {
  const problems = hostVmProblems();
  if (problems.length > 0) throw new Error(problems.join("\n"));
  // chroot: its other sandbox cannot have / itself for a source.
  const files = await lab.host.start([
    ...[VIRTIOFSD, `--socket-path=${SOCKET}`, "-f"],
    ...["-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"],
  ]);
  await files.waitForLine(/Waiting for vhost-user socket connection/);
  const result = await bootMachine(lab, {
    name: "host",
    modules: MODULES,
    init: INIT,
    script: `export PATH=${quote(labPath())} HOME=/root
cd ${quote(process.cwd())}
set -o pipefail # the pipe is there so that nothing takes the console for a terminal
${runScript(`/bin/bash -c ${quote(script)} 2>&1 </dev/null | cat`)}`,
    memory: MEMORY,
    devices: [
      ...["-machine", "memory-backend=memory"],
      ...["-object", `memory-backend-memfd,id=memory,size=${MEMORY}M,share=on`],
      ...["-chardev", `socket,id=files,path=${SOCKET}`],
      ...["-device", "vhost-user-fs-pci,chardev=files,tag=host"],
    ],
    timeout,
  });
  await files.ended;
  return result;
}
