import { execFileSync } from "node:child_process";
import { closeSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inNetworkNamespace, makeNetworkNamespace } from "../linux/namespace.ts";
import { openRtnetlink } from "../linux/rtnetlink.ts";
import { LINKS_AT_ONCE, listAttachments, openAttachments, renewAll } from "./attachments.ts";
import { openDatapath, removeDatapath } from "./datapath.ts";
import { closeFd, getPinned } from "./libbpf.ts";
import { openPrivateBpffs, SETTINGS, VIF } from "./testing.ts";
import type { AttachKind, Datapath } from "./types.ts";

/** A filter that matches nothing: one instruction of classic BPF, `ret 0`. */
const CLASSIC_FILTER = ["bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"];

let namespace: number;
let bpffs: ReturnType<typeof openPrivateBpffs>;
let pinDir: string;
let vif: number;
let neighbour: number;
let emptyDir: string[];

const inside = <T>(action: () => T): T => inNetworkNamespace(namespace, action);
const run = (command: string, ...args: string[]) =>
  inside(() => execFileSync(command, args, { encoding: "utf8", stdio: "pipe" }));
const ifindexOf = (name: string) =>
  inside(() => {
    const network = openRtnetlink();
    const link = network.link(name);
    network.close();
    return link!.ifindex;
  });
const withDatapath = (attach: "auto" | AttachKind, use: (datapath: Datapath) => void) =>
  inside(() => {
    const datapath = openDatapath({ pinDir, attach, flowCapacity: 1024 });
    try {
      use(datapath);
    } finally {
      datapath.close();
    }
  });
/** Attaches to the vif, known as one: the datapath leaves others alone. */
const attachVif = (datapath: Datapath) => {
  datapath.setSettings(SETTINGS);
  datapath.setVif(vif, VIF);
  datapath.attach("vif", vif);
};
/**
 * How many programs sit on vif0: each counts an ARP request for another guest and lets it pass on. The request is real, made by the
 * kernel for a new neighbour behind eth0.
 */
const programsOnVif = (): number => {
  const counted = () => {
    let frames = 0n;
    withDatapath("auto", (datapath) => {
      frames = datapath.counters()["arp-other"].frames;
    });
    return frames;
  };
  const before = counted();
  try {
    run("ping", "-c1", "-W0.1", `10.9.9.${neighbour++}`);
  } catch {
    // Nobody answers.
  }
  return Number(counted() - before);
};
const qdiscs = () => run("tc", "qdisc", "show", "dev", "vif0");

/** The veth pair of a guest that has eth0; `more`: further words for the vif's end. */
function addVif(...more: string[]) {
  run("ip", "link", "add", "vif0", ...more, "type", "veth", "peer", "name", "eth0");
  run("ip", "addr", "add", "10.9.9.1/24", "dev", "eth0");
  run("ip", "link", "set", "vif0", "up");
  run("ip", "link", "set", "eth0", "up");
}

beforeEach(() => {
  namespace = makeNetworkNamespace();
  bpffs = openPrivateBpffs();
  pinDir = bpffs.path;
  emptyDir = readdirSync(pinDir);
  neighbour = 10;
  addVif();
  vif = ifindexOf("vif0");
});

afterEach(() => {
  bpffs.close();
  closeSync(namespace);
});

it("an interface that goes while programs are renewed does not end that, and a program that cannot take its place does", () => {
  withDatapath("clsact", attachVif);
  const program = getPinned(join(pinDir, "programs", "onlink_vif"))!;
  const noProgram = -1;
  expect(() => inside(() => renewAll(pinDir, () => noProgram))).toThrow();
  inside(() =>
    renewAll(pinDir, () => {
      // It was there when it was looked for.
      run("ip", "link", "del", "vif0");
      return program;
    }),
  );
  closeFd(program);
});

describe.each(["tcx", "clsact"] as const)("%s", (how) => {
  const other = how === "tcx" ? "clsact" : "tcx";

  it("attaches, and stays when the process's handles are closed", () => {
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      expect(datapath.attachments()).toEqual([{ program: "vif", ifindex: vif, how }]);
    });
    expect(programsOnVif()).toBe(1);
  });

  it("renews in place: one program after a second start, and after a second call", () => {
    for (let start = 0; start < 2; start++)
      withDatapath(how, (datapath) => {
        attachVif(datapath);
        attachVif(datapath);
      });
    expect(programsOnVif()).toBe(1);
  });

  it(`takes over from ${other}`, () => {
    withDatapath(other, (datapath) => attachVif(datapath));
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      expect(datapath.attachments()).toEqual([{ program: "vif", ifindex: vif, how }]);
    });
    expect(programsOnVif()).toBe(1);
  });

  it("detaches without a trace, and detaching nothing is no error", () => {
    const before = qdiscs();
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      datapath.detach("vif", vif);
      datapath.detach("vif", vif);
      expect(datapath.attachments()).toEqual([]);
    });
    expect(programsOnVif()).toBe(0);
    expect(qdiscs()).toBe(before);
  });

  it("clears the pins of an interface that is gone", () => {
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      run("ip", "link", "del", "vif0");
      datapath.detach("vif", vif);
      expect(datapath.attachments()).toEqual([]);
    });
  });

  it("attaches to another interface that came with the number of one that is gone", () => {
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      run("ip", "link", "del", "vif0");
      addVif("index", `${vif}`);
      attachVif(datapath);
    });
    expect(programsOnVif()).toBe(1);
  });

  it("removeDatapath takes everything off and leaves no pin", () => {
    const before = qdiscs();
    withDatapath(how, (datapath) => {
      attachVif(datapath);
      datapath.attach("fabric", ifindexOf("eth0"));
    });
    inside(() => removeDatapath(pinDir));
    expect(qdiscs()).toBe(before);
    expect(readdirSync(pinDir)).toEqual(emptyDir);
  });
});

describe("clsact filters of two programs on one interface", () => {
  it("are taken off each alone, and the qdisc with the last", () => {
    const before = qdiscs();
    const programs = () => {
      const shown = run("tc", "filter", "show", "dev", "vif0", "ingress");
      return [...shown.matchAll(/handle \S+ (onlink_\w+)/g)].map(([, name]) => name).sort();
    };
    withDatapath("clsact", (datapath) => {
      attachVif(datapath);
      datapath.attach("fabric", vif);
      expect(programs()).toEqual(["onlink_fabric", "onlink_vif"]);
      datapath.detach("vif", vif);
      expect(programs()).toEqual(["onlink_fabric"]);
      datapath.detach("fabric", vif);
    });
    expect(qdiscs()).toBe(before);
  });
});

describe("the clsact qdisc", () => {
  it("stays where it was there before us", () => {
    run("tc", "qdisc", "add", "dev", "vif0", "clsact");
    const before = qdiscs();
    withDatapath("clsact", (datapath) => {
      attachVif(datapath);
      datapath.detach("vif", vif);
    });
    expect(qdiscs()).toBe(before);
  });

  it("stays where somebody else has put a filter on ours", () => {
    const filters = () => run("tc", "filter", "show", "dev", "vif0", "egress");
    withDatapath("clsact", (datapath) => {
      attachVif(datapath);
      run("tc", "filter", "add", "dev", "vif0", "egress", ...CLASSIC_FILTER);
      const theirs = filters();
      datapath.detach("vif", vif);
      expect(filters()).toBe(theirs);
    });
    expect(existsSync(join(pinDir, "filters", `qdisc-${vif}`))).toBe(false);
  });
});

describe("many that come at once", () => {
  const COUNT = LINKS_AT_ONCE + 3;
  let program: number;
  let indexes: number[];
  let steps: Array<() => void>;

  const open = () =>
    openAttachments({
      pinDir,
      how: "tcx",
      program: () => program,
      later: (step) => {
        steps.push(step);
        return () => steps.splice(steps.indexOf(step), 1);
      },
    });
  const attached = (how: AttachKind) =>
    listAttachments(pinDir).flatMap((one) => (one.how === how ? [one.ifindex] : []));
  const allQdiscs = () => run("tc", "qdisc", "show");
  const doNextStep = () => inside(() => steps.shift()!());
  const sorted = (numbers: number[]) => [...numbers].sort((a, b) => a - b);

  beforeEach(() => {
    withDatapath("tcx", () => {});
    program = getPinned(join(pinDir, "programs", "onlink_vif"))!;
    steps = [];
    indexes = Array.from({ length: COUNT }, (_, index) => 1000 + index);
    for (const index of indexes)
      run("ip", "link", "add", `v${index}`, "index", `${index}`, "type", "veth", "peer", "name", `p${index}`);
    return () => closeFd(program);
  });

  it("all but a few get a filter first, and their links one by one", () => {
    const before = allQdiscs();
    const attachments = open();
    inside(() => {
      for (const index of indexes) attachments.attach("vif", index);
    });
    expect(attached("tcx")).toHaveLength(LINKS_AT_ONCE);
    expect(sorted([...attached("tcx"), ...attached("clsact")])).toEqual(indexes);
    expect(allQdiscs().match(/clsact/g)).toHaveLength(3);
    expect(steps).toHaveLength(1);
    doNextStep();
    expect(attached("clsact")).toHaveLength(2);
    inside(() => attachments.detach("vif", indexes.at(-1)!));
    run("ip", "link", "del", `v${indexes.at(-2)}`);
    while (steps.length > 0) doNextStep();
    inside(() => attachments.detach("vif", indexes.at(-2)!));
    expect(sorted(attached("tcx"))).toEqual(indexes.slice(0, -2));
    expect(attached("clsact")).toEqual([]);
    expect(allQdiscs().replaceAll(/.* dev [vp]100\d .*\n/g, "")).toBe(before);
    attachments.close();
  });

  it("where many have filters, the next process makes no link at once", () => {
    inside(() => {
      const clsact = openAttachments({ pinDir, how: "clsact", program: () => program });
      for (const index of indexes) clsact.attach("vif", index);
      clsact.close();
    });
    const second = open();
    inside(() => second.attach("vif", indexes[0]!));
    expect(attached("tcx")).toEqual([]);
    expect(sorted(attached("clsact"))).toEqual(indexes);
    while (steps.length > 0) doNextStep();
    expect(attached("tcx")).toEqual([indexes[0]]);
    second.close();
  });

  it("what a process has not come to, the next one does", () => {
    const first = open();
    inside(() => {
      for (const index of indexes) first.attach("vif", index);
    });
    first.close();
    expect(steps).toEqual([]);
    const second = open();
    inside(() => {
      for (const index of indexes) second.attach("vif", index);
    });
    while (steps.length > 0) doNextStep();
    expect(sorted(attached("tcx"))).toEqual(indexes);
    expect(allQdiscs()).not.toContain("clsact");
    second.close();
  });
});
