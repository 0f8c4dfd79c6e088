/**
 * What the vif program costs a frame. One that is not for a service is measured against a program that only returns, in turn, by
 * the kernel's own clock (BPF_PROG_TEST_RUN with repeat). Frames that the program changes cannot be repeated so: the next round
 * would see its own output. They are run one by one, and the kernel's run time statistics give the average, which
 * includes caches gone cold between two system calls.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { loadDatapath } from "../src/datapath/datapath.ts";
import { openPrivateBpffs, SERVICE, SETTINGS, VIF } from "../src/datapath/testing.ts";
import { arpRequest, tcpFrame, udpFrame } from "../src/packet/build.ts";
import { TCP_FLAG } from "../src/packet/tcp.ts";
import { record } from "./record.ts";
import { rounds } from "./rounds.ts";

const REPEAT = 1_000_000;
const ROUNDS = 9;
const SINGLE_RUNS = 20_000;

const LOOPBACK = 1;
const STATISTICS = "/proc/sys/kernel/bpf_stats_enabled";

const bpftool = (...args: string[]) => execFileSync("bpftool", args, { encoding: "utf8" });

/** Nanoseconds for one run of a pinned program on a frame, over `REPEAT` runs. */
function durationOf(program: string, frame: string): number {
  const printed = bpftool("prog", "run", "pinned", program, "data_in", frame, "repeat", `${REPEAT}`);
  return Number(/duration \(average\): (\d+)ns/.exec(printed)![1]);
}

test("cost of a frame in the vif program", async () => {
  const work = mkdtempSync(join(tmpdir(), "onlink-bench-"));
  const bpffs = openPrivateBpffs();
  const statistics = readFileSync(STATISTICS, "utf8");
  const datapath = loadDatapath({ pinDir: bpffs.path, attach: "auto", flowCapacity: 1024 });
  try {
    datapath.setSettings(SETTINGS);
    datapath.setVif(LOOPBACK, VIF);
    const service = {
      id: 1,
      backends: 1,
      responseHopLimit: 64,
      whenNoBackend: "reject" as const,
      drain: 0,
      drainEnds: 0n,
    };
    datapath.backends.set({ service: 1, slot: 0 }, { kind: "host-local", address: "127.0.0.1", port: 53 });
    datapath.services.set({ address: SERVICE, port: 53, protocol: "udp" }, service);
    datapath.serviceAddresses.set(SERVICE, { services: 1 });

    const onlyReturn = join(bpffs.path, "only_return");
    const object = join(work, "return.bpf.o");
    const source = fileURLToPath(new URL("return.bpf.c", import.meta.url));
    const machine = execFileSync("clang", ["-print-multiarch"], { encoding: "utf8" }).trim();
    const headers = `/usr/include/${machine}`;
    execFileSync("clang", ["-O2", "-g", "-target", "bpf", "-idirafter", headers, "-c", source, "-o", object]);
    bpftool("prog", "load", object, onlyReturn);

    const macs = { sourceMac: "02:00:0a:00:01:03", destinationMac: "02:00:0a:00:01:01", source: "10.0.1.3" };
    const elsewhere = { ...macs, destination: "198.51.100.7", sourcePort: 40000, destinationPort: 443 };
    const frame = join(work, "frame");
    writeFileSync(frame, tcpFrame({ ...elsewhere, flags: TCP_FLAG.ack, data: Buffer.alloc(64) }));
    const vifProgram = join(bpffs.path, "programs", "onlink_vif");
    const times = { returns: [] as number[], vif: [] as number[] };
    for (let round = 0; round < ROUNDS; round++) {
      times.returns.push(durationOf(onlyReturn, frame));
      times.vif.push(durationOf(vifProgram, frame));
    }
    record({
      part: "cost",
      work: "A frame that is not for a service",
      unit: "ns",
      values: { "onlink, vif program": times.vif, "a program that only returns": times.returns },
      targets: [
        { way: "onlink, vif program", bound: "at most", limit: 60 },
        { way: "onlink, vif program", against: "a program that only returns", bound: "at most", limit: 4 },
      ],
      notes: ["By the kernel's own clock, BPF_PROG_TEST_RUN with a million repetitions a round."],
    });

    writeFileSync(STATISTICS, "1");
    const { id } = JSON.parse(bpftool("-j", "prog", "show", "pinned", vifProgram));
    const runTime = () => {
      const { run_time_ns = 0, run_cnt = 0 } = JSON.parse(bpftool("-j", "prog", "show", "id", `${id}`));
      return { time: run_time_ns, runs: run_cnt };
    };
    const singles: Array<[string, Uint8Array]> = [
      ["not for a service", tcpFrame({ ...elsewhere, flags: TCP_FLAG.ack, data: Buffer.alloc(64) })],
      [
        "ARP reply",
        arpRequest({ senderMac: macs.sourceMac, senderAddress: "10.0.1.3", targetAddress: SERVICE }),
      ],
      [
        "packet of an open flow",
        udpFrame({
          ...macs,
          destination: SERVICE,
          sourcePort: 40000,
          destinationPort: 53,
          data: Buffer.alloc(64),
        }),
      ],
    ];
    const single = (frame: Uint8Array) => () => {
      const before = runTime();
      for (let run = 0; run < SINGLE_RUNS; run++) datapath.run("vif", frame);
      const after = runTime();
      return (after.time - before.time) / (after.runs - before.runs);
    };
    record({
      part: "cost",
      work: "A frame by itself, caches gone cold",
      unit: "ns",
      values: await rounds(
        ROUNDS,
        Object.fromEntries(singles.map(([name, frame]) => [`onlink, ${name}`, single(frame)])),
      ),
      targets: [],
      notes: ["By the kernel's run time statistics, each frame a system call of its own."],
    });
  } finally {
    writeFileSync(STATISTICS, statistics);
    datapath.close();
    bpffs.close();
    rmSync(work, { recursive: true });
  }
});
