/** `onlink capture` beside a guest that uses its services, and Wireshark's own reader on what it wrote. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { startDnsServer, startHttpServer } from "../src/lab/servers.ts";
import { readCapture } from "../src/packet/pcap.ts";
import { CONFIG_FILE, ONLINK, onlink, startAgent } from "./support/agent.ts";
import { dig, hashOfDownload, output, ping } from "./support/commands.ts";
import { openLabWithGuest } from "./support/guest.ts";

const WEB = "169.254.169.254";
const DNS = "169.254.169.253";
const FILE = "/run/guest.pcapng";

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  ({ lab, guest } = await openLabWithGuest());
  await Promise.all([
    startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 }),
    startDnsServer(lab.host, { address: "127.0.0.1", port: 5353 }),
  ]);
  await startAgent(lab, {
    services: [
      { name: "web", address: WEB, port: 80, backends: ["127.0.0.1:8080"] },
      { name: "dns", address: DNS, port: 53, protocol: "udp", backends: ["127.0.0.1:5353"] },
    ],
    interfaces: [{ name: guest.vif }],
  });
});
afterAll(() => lab?.close());

/** Starts a capture on the guest's vif, and waits until it captures. */
async function startCapture(...args: string[]) {
  const started = await lab.host.start([
    ...[process.execPath, ONLINK, "capture", guest.vif, "--config", CONFIG_FILE],
    ...args,
  ]);
  await started.waitForLine(/^capturing on /);
  return started;
}

/** The guest uses both services, and talks to others. */
async function useServices(): Promise<void> {
  await output(guest, ["ip", "neigh", "flush", "dev", "eth0"]);
  await hashOfDownload(guest, `http://${WEB}/bytes/3000000`);
  await dig(guest, DNS, "a.test");
  await guest.run(["ping", "-c1", "-W1", "10.0.1.9"]);
  await ping(guest, WEB);
}

test("writes what Wireshark reads: service traffic alone, in both directions", async () => {
  const capture = await startCapture("--write", FILE);
  await useServices();
  expect(await capture.stop("SIGINT")).toEqual({ code: 0, signal: null });
  expect(capture.stderr()).toMatch(/^capturing on vif-red: 169\.254\.169\.254, 169\.254\.169\.253$/m);
  const [, count, dropped] = /^(\d+) packets captured, (\d+) dropped/m.exec(capture.stderr())!.map(Number);
  expect(dropped).toBe(0);
  expect((await stat(lab.root + FILE)).mode & 0o777).toBe(0o600);

  const fields = [
    "frame.interface_name",
    "_ws.col.Protocol",
    "ip.src",
    "ip.dst",
    "arp.opcode",
    "_ws.malformed",
  ];
  const table = await output(lab.host, [
    "tshark",
    "-r",
    FILE,
    "-T",
    "fields",
    ...fields.flatMap((field) => ["-e", field]),
  ]);
  const rows = table
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  expect(rows.length).toBe(count);
  const column = (index: number) => [...new Set(rows.map((row) => row[index] ?? ""))].sort();
  expect(column(0)).toEqual([guest.vif]);
  for (const protocol of ["ARP", "DNS", "HTTP", "ICMP", "TCP"]) expect(column(1)).toContain(protocol);
  expect(column(2)).toEqual(["", "10.0.1.3", DNS, WEB].sort());
  expect(column(3)).toEqual(["", "10.0.1.3", DNS, WEB].sort());
  expect(column(4)).toEqual(["", "1", "2"]);
  expect(column(5)).toEqual([""]);
  // Times are of now, in nanoseconds, and none is before the one before it.
  const times = (await output(lab.host, ["tshark", "-r", FILE, "-T", "fields", "-e", "frame.time_epoch"]))
    .trim()
    .split("\n");
  expect(times.every((time) => /^\d+\.\d{9}$/.test(time))).toBe(true);
  expect(times).toEqual([...times].sort());
});

test("does not overwrite a capture", async () => {
  await writeFile(`${lab.root}/run/there.pcapng`, "kept");
  const { code, stderr } = await onlink(
    lab,
    "capture",
    guest.vif,
    "--config",
    CONFIG_FILE,
    "-w",
    "/run/there.pcapng",
  );
  expect(code).toBe(1);
  expect(stderr).toContain(
    "onlink: cannot write /run/there.pcapng: it is there already; remove it, or give another name",
  );
  expect(await readFile(`${lab.root}/run/there.pcapng`, "utf8")).toBe("kept");
});

test("prints a line for each packet, and ends after as many as were asked for", async () => {
  const capture = await startCapture("--count", "2", "--address", WEB);
  await output(guest, ["ip", "neigh", "flush", "dev", "eth0"]);
  await ping(guest, WEB);
  expect(await capture.ended).toEqual({ code: 0, signal: null });
  const lines = capture.stdout().trimEnd().split("\n");
  expect(lines.length).toBe(2);
  expect(lines[0]).toMatch(
    /^\d\d:\d\d:\d\d\.\d{6} {2}02:00:0a:00:01:03 > ff:ff:ff:ff:ff:ff, ARP request who-has 169\.254\.169\.254 tell 10\.0\.1\.3/,
  );
  expect(lines[1]).toContain("ARP reply 169.254.169.254 is-at 00:00:5e:00:01:00");
  expect(capture.stderr()).toContain("2 packets captured, 0 dropped");
});

test("writes to a pipe, for so long, without an agent's help", async () => {
  const { code, stdout, stderr } = await lab.host.run([
    ...["/bin/sh", "-c", '"$@" -w - --duration 1500ms --address 169.254.169.254 | od -An -v -tx1', "sh"],
    ...[process.execPath, ONLINK, "capture", guest.vif],
  ]);
  expect(code, stderr).toBe(0);
  const file = Buffer.from(stdout.replaceAll(/\s/g, ""), "hex");
  expect(readCapture(file)).toEqual({ ok: true, value: { packets: [], damage: undefined } });
  expect(stderr).toContain("0 packets captured, 0 dropped");
});

test("ends with the interface", async () => {
  const capture = await startCapture("--count", "100");
  await output(lab.host, ["ip", "link", "delete", guest.vif]);
  expect(await capture.ended).toEqual({ code: 1, signal: null });
  expect(capture.stderr()).toMatch(
    /^0 packets captured, 0 dropped.*\nonlink: vif-red: The interface disappeared$/m,
  );
  const again = await onlink(lab, "capture", guest.vif, "--address", WEB);
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/^onlink: cannot capture on vif-red: /);
});
