/** What a host has and runs, to compare before and after. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import type { Lab } from "../../src/lab/lab.ts";
import { output, shell } from "./commands.ts";

/** Where the datapath is pinned unless the configuration says otherwise. */
const PINS = "/run/onlink/bpf";

/**
 * Everything of a lab's host that onlink may change, under the name of what it is. What changes by itself (counters, times) is
 * left out.
 */
export async function hostState(lab: Lab): Promise<Record<string, string>> {
  const commands = {
    // A link that was just made has its carrier a moment later.
    links: "ip -oneline link | sed 's/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]* / /'",
    addresses: "ip -oneline address | sed 's/valid_lft.*//'",
    routes:
      "ip route show table all | sed 's/ linkdown//'; ip -6 route show table all | sed 's/ linkdown//'; ip rule",
    neighbours: "ip neighbour show nud permanent; ip neighbour show proxy",
    // Some can only be written.
    settings: "cd /proc/sys/net; grep -rs . core ipv4 ipv6 || true",
    firewall: "nft --stateless list ruleset 2>/dev/null || true",
    hooks: "tc qdisc show; for link in $(ls /sys/class/net); do tc filter show dev $link ingress; done",
    // Under /tmp come and go those of other tests.
    mounts: "cut -d' ' -f 1-4 /proc/mounts | grep -v ' /tmp/'",
    files: "find /run /var/lib | sort",
  };
  const states = await Promise.all(
    Object.entries(commands).map(async ([name, line]) => [name, await shell(lab.host, line)] as const),
  );
  return Object.fromEntries(states);
}

/** Ids of BPF objects of the kernel, as bpftool names their kinds. */
export type BpfObjects = Record<"prog" | "map" | "link", number[]>;

/** The BPF objects that are pinned by a lab's agent. */
export async function pinnedObjects(lab: Lab): Promise<BpfObjects> {
  const show = async (kind: keyof BpfObjects, folder: "programs" | "maps" | "links") => {
    const path = `${lab.root}${PINS}/${folder}`;
    const names = existsSync(path) ? await readdir(path) : [];
    return Promise.all(
      names.map(async (name) => {
        const shown = await output(lab.host, [
          "bpftool",
          "-j",
          kind,
          "show",
          "pinned",
          `${PINS}/${folder}/${name}`,
        ]);
        return JSON.parse(shown) as { id: number };
      }),
    );
  };
  const ids = (objects: Array<{ id: number }>) => objects.map(({ id }) => id);
  return {
    prog: ids(await show("prog", "programs")),
    map: ids(await show("map", "maps")),
    link: ids(await show("link", "links")),
  };
}

/** Those of some BPF objects that the kernel still has. */
export async function stillThere(lab: Lab, objects: BpfObjects): Promise<BpfObjects> {
  const left = async (kind: keyof BpfObjects) => {
    const all: Array<{ id: number }> = JSON.parse(await output(lab.host, ["bpftool", "-j", kind, "show"]));
    return objects[kind].filter((id) => all.some((one) => one.id === id));
  };
  return { prog: await left("prog"), map: await left("map"), link: await left("link") };
}
