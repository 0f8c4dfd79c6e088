/** What the datapath needs of the kernel and of libbpf, asked by trying and not by version. */
import { readFileSync } from "node:fs";
import { inNetworkNamespace, makeNetworkNamespace } from "../linux/namespace.ts";
import { openRtnetlink, type Rtnetlink } from "../linux/rtnetlink.ts";
import { filterPlace } from "./attachments.ts";
import { DatapathError } from "./errors.ts";
import {
  attachFilter,
  type BpfObject,
  closeFd,
  closeObject,
  createLink,
  createQdisc,
  libbpfVersion,
  loadObject,
  openObject,
  programFd,
  supportsTcx,
  verifiedInstructions,
} from "./libbpf.ts";
import { OBJECT_FILE } from "./object.ts";

/** The programs that frames meet, without their prefix `onlink_`. */
const PROGRAMS = ["vif", "host", "fabric"] as const;

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
      return [
        { name: "datapath", ok: true, detail: `the kernel accepts the programs${verifierWork(object)}` },
        ...probeAttach(programFd(object, "onlink_vif")),
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

/** How near each program is to the most that the verifier takes; empty where the kernel does not say. */
function verifierWork(object: BpfObject): string {
  const counts = PROGRAMS.flatMap((name) => {
    const count = verifiedInstructions(programFd(object, `onlink_${name}`));
    return count === undefined ? [] : [`${name} ${count}`];
  });
  return counts.length === 0 ? "" : ` (verified instructions of 1000000: ${counts.join(", ")})`;
}

/**
 * Makes a pair such as onlink0 and attaches to it, in a network namespace that is there for this alone, so that no interface of the host is
 * touched and modules that the kernel loads on demand are loaded.
 */
function probeAttach(program: number): Probe[] {
  let namespace: number;
  try {
    namespace = makeNetworkNamespace();
  } catch (error) {
    return [failure("attach", error, "run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN")];
  }
  try {
    return inNetworkNamespace(namespace, () => {
      const network = openRtnetlink();
      try {
        return attachToPair(network, program);
      } finally {
        network.close();
      }
    });
  } finally {
    closeFd(namespace);
  }
}

function attachToPair(network: Rtnetlink, program: number): Probe[] {
  const name = "onlink-probe";
  try {
    network.createVethPair({ name, peer: `${name}-p`, mtu: 1500 });
  } catch (error) {
    return [failure("veth", error, "use a kernel with veth devices (CONFIG_VETH; try: modprobe veth)")];
  }
  const { ifindex } = network.link(name)!;
  const veth = { name: "veth", ok: true, detail: "the kernel makes veth pairs" };
  if (supportsTcx(program)) {
    closeFd(createLink(program, ifindex, "ingress"));
    return [veth, { name: "attach", ok: true, detail: "tcx links (Linux 6.6 and later)" }];
  }
  try {
    createQdisc(ifindex);
    attachFilter(program, filterPlace("vif", ifindex));
    return [veth, { name: "attach", ok: true, detail: "clsact filters; the kernel has no tcx" }];
  } catch (error) {
    const mend =
      "use a kernel with tcx (Linux 6.6 and later), or with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (try: modprobe sch_ingress cls_bpf)";
    return [veth, failure("attach", error, mend)];
  }
}

function failure(name: string, error: unknown, mend: string): Probe {
  return { name, ok: false, detail: error instanceof Error ? error.message : String(error), mend };
}
