/** What the datapath needs of the kernel and of libbpf, asked by trying and not by version. */
import { readFileSync } from "node:fs";
import { DatapathError } from "./errors.ts";
import { closeObject, libbpfVersion, loadObject, openObject, programFd, supportsTcx } from "./libbpf.ts";
import { OBJECT_FILE } from "./object.ts";

/** One thing that was asked: `detail` says what was found, `mend` what to do where it is not ok. */
export interface Probe {
  name: string;
  ok: boolean;
  detail: string;
  mend?: string;
}

/**
 * Loads the datapath without attaching or pinning it, so that the kernel's verifier itself says whether it can run here. Leaves
 * nothing behind. Wants the capabilities that the agent wants.
 */
export function probeDatapath(): Probe[] {
  return [probeLibbpf(), probeBpffs(), ...probeObject()];
}

function probeLibbpf(): Probe {
  try {
    return { name: "libbpf", ok: true, detail: libbpfVersion() };
  } catch (error) {
    return failure("libbpf", error, "install libbpf 1.x (Debian: apt install libbpf1)");
  }
}

function probeBpffs(): Probe {
  const ok = /^nodev\tbpf$/m.test(readFileSync("/proc/filesystems", "utf8"));
  return ok
    ? { name: "bpffs", ok, detail: "the kernel has the bpf filesystem" }
    : {
        name: "bpffs",
        ok,
        detail: "the kernel has no bpf filesystem",
        mend: "use a kernel built with CONFIG_BPF_SYSCALL",
      };
}

function probeObject(): Probe[] {
  try {
    const object = openObject(OBJECT_FILE);
    try {
      loadObject(object);
      const detail = supportsTcx(programFd(object, "onlink_vif"))
        ? "tcx links (Linux 6.6 and later)"
        : "clsact filters; the kernel has no tcx";
      return [
        { name: "datapath", ok: true, detail: "the kernel accepts the programs" },
        { name: "attach", ok: true, detail },
      ];
    } finally {
      closeObject(object);
    }
  } catch (error) {
    const mend =
      error instanceof DatapathError && error.errno === 1
        ? "run as root, or with CAP_BPF and CAP_NET_ADMIN"
        : "use Linux 5.15 or later with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF";
    return [failure("datapath", error, mend)];
  }
}

function failure(name: string, error: unknown, mend: string): Probe {
  return { name, ok: false, detail: error instanceof Error ? error.message : String(error), mend };
}
