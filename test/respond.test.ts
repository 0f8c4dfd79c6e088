/**
 * The responder in user space, run as a user with CAP_NET_RAW and nothing else, where no datapath is: what guests get, and what it does beside
 * others that answer.
 */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import type { RawTap } from "../src/lab/raw-tap.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { BROADCAST_MAC, GATEWAY_MAC } from "../src/packet/address.ts";
import { arpAnnouncement, arpRequest } from "../src/packet/build.ts";
import { describeFrame } from "../src/packet/describe.ts";
import { windowsArpRequest } from "../src/packet/fixtures.ts";
import { ONLINK, onlink, startAgent, writeConfig } from "./support/agent.ts";
import { arping, output, ping, requestFrom } from "./support/commands.ts";
import { flood } from "./support/flood.ts";

const SERVICE = "169.254.169.254";
/** What avahi is told to try first. */
const WANTED = "169.254.10.9";
const CONFIG = "/run/respond.yaml";

/** As nobody, with the one capability that it takes. */
const UNPRIVILEGED = [
  ...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"],
  ...["--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw"],
];

let lab: Lab;
let onLink: Guest;
let other: Guest;
let prober: Guest;
/** On a bridge; the neighbour is another host of that link. */
let claimer: Guest;
let neighbour: Guest;
let tap: RawTap;
let responder: LabProcess;

async function startResponder(
  where: { start: Lab["host"]["start"] },
  ...args: string[]
): Promise<LabProcess> {
  const started = await where.start([...UNPRIVILEGED, process.execPath, ONLINK, "respond", ...args]);
  await started.waitForLine(/"msg":"ready"/);
  return started;
}

beforeAll(async () => {
  lab = await openLab();
  const veth = { link: "veth", behaviour: "on-link" } as const;
  [onLink, other, prober] = (await lab.addGuests([
    { ...veth, name: "on-link", address: "10.0.1.3/24", gateway: "10.0.1.1" },
    { ...veth, name: "other", address: "10.0.2.3/24", gateway: "10.0.2.1" },
    { ...veth, name: "prober", address: "10.0.3.3/24", gateway: "10.0.3.1", behaviour: "routed" },
  ])) as [Guest, Guest, Guest];
  await lab.addBridge({ name: "br0", address: "10.0.4.1/24" });
  const member = { link: "bridge", bridge: "br0", behaviour: "on-link", gateway: "10.0.4.1" } as const;
  [claimer, neighbour] = (await lab.addGuests([
    { ...member, name: "claimer", address: "10.0.4.3/24" },
    { ...member, name: "neighbour", address: "10.0.4.4/24" },
  ])) as [Guest, Guest];
  tap = await lab.rawTap("tap0");
  // The host serves the address without answering for it: that is left to the responder.
  await output(lab.host, ["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"]);
  await output(lab.host, ["ip", "address", "add", `${SERVICE}/32`, "dev", "lo"]);
  await startHttpServer(lab.host, { address: SERVICE, port: 80 });
  expect(await arping(onLink, SERVICE)).toBeUndefined();

  await writeConfig(
    lab,
    {
      services: [SERVICE, WANTED].map((address, index) => ({
        name: `web-${index}`,
        address,
        port: 80,
        backends: ["127.0.0.1:8080"],
      })),
      interfaces: [{ name: "vif-*" }, { name: "tap0" }],
    },
    CONFIG,
  );
  responder = await startResponder(lab.host, "--config", CONFIG, "--echo");
});
afterAll(() => lab?.close());

/** The MAC of an interface of the host. */
async function macOf(name: string): Promise<string> {
  const [link] = JSON.parse(await output(lab.host, ["ip", "-json", "link", "show", name]));
  return link.address;
}

test("an on-link guest is answered by the interface's own MAC, and served", async () => {
  expect(await arping(onLink, SERVICE)).toBe(await macOf(onLink.vif));
  expect((await requestFrom(onLink, `http://${SERVICE}/`)).peer).toBe("10.0.1.3");
  // What is no service address is not answered.
  expect(await arping(onLink, "169.254.169.1")).toBeUndefined();
});

test("Windows Server 2022's own frame is answered", async () => {
  tap.send(windowsArpRequest());
  const reply = await tap.nextFrame((frame) => describeFrame(frame).includes("ARP reply"));
  const mac = await macOf("tap0");
  expect(describeFrame(reply)).toBe(
    `${mac} > 02:21:87:a4:05:0c, ARP reply ${SERVICE} is-at ${mac}, length 42`,
  );
});

test("a host that wants a service address for itself takes another", async () => {
  await output(prober, ["ip", "address", "flush", "dev", "eth0"]);
  const avahi = await prober.start([
    "avahi-autoipd",
    "--no-drop-root",
    "--no-chroot",
    `--start=${WANTED}`,
    "eth0",
  ]);
  await avahi.waitForLine(new RegExp(`^Starting with address ${WANTED}$`));
  await avahi.waitForLine(/^Received conflicting \w+ ARP packet\.$/);
  const claimed = await avahi.waitForLine(/^Successfully claimed IP address/);
  expect(claimed).not.toContain(WANTED);
  await avahi.stop();
});

test("the service address answers pings", async () => {
  await ping(onLink, SERVICE);
});

test("an interface that goes away and comes back is answered on again", async () => {
  const before = await macOf(other.vif);
  expect(await arping(other, SERVICE)).toBe(before);
  await output(lab.host, ["ip", "link", "delete", other.vif]);
  await responder.waitForLine(new RegExp(`"interface":"${other.vif}".*"msg":"interface gone"`));
  await output(lab.host, [
    "ip",
    "link",
    "add",
    other.vif,
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    "other",
  ]);
  await output(lab.host, ["ip", "link", "set", other.vif, "up"]);
  await output(other, ["ip", "address", "add", other.address, "dev", "eth0"]);
  await output(other, ["ip", "link", "set", "eth0", "up"]);
  const after = await macOf(other.vif);
  expect(after).not.toBe(before);
  await waitFor("an answer", async () => (await arping(other, SERVICE)) === after);
});

test("a flood of askers is answered within bounds, and the others are answered meanwhile", async () => {
  const memory = async () => {
    const status = await readFile(`/proc/${responder.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
  };
  const before = await memory();
  const request = arpRequest({
    senderMac: "02:00:0a:00:01:03",
    senderAddress: "10.0.1.3",
    targetAddress: SERVICE,
  });
  const random = [
    [22, 6],
    [28, 4],
  ] as const;
  const flooding = flood(onLink, [{ bytes: request, random }], 100_000);
  expect(await arping(other, SERVICE)).toBe(await macOf(other.vif));
  await flooding;
  expect(await arping(onLink, SERVICE)).toBe(await macOf(onLink.vif));
  const lines = responder.stdout().split("\n");
  expect(lines.filter((line) => line.includes('"msg":"answered"')).length).toBeLessThanOrEqual(300);
  expect((await memory()) - before).toBeLessThan(100 * 2 ** 20);
});

test("a second responder on the same interface leaves it to the first", async () => {
  const MAC = "02:00:00:00:00:99";
  const second = await startResponder(
    lab.host,
    ...["--interface", onLink.vif, "--address", SERVICE, "--mac", MAC],
  );
  expect(await arping(onLink, SERVICE)).toBe(await macOf(onLink.vif));
  await second.waitForLine(/left to it/);
  const { stdout } = await onLink.run(["arping", "-b", "-c3", "-w3", "-I", "eth0", SERVICE]);
  expect(stdout).toContain("Received 3 response(s)");
  expect(stdout.toLowerCase()).not.toContain(MAC);
  await second.stop();
  expect(responder.stdout()).not.toContain("left to it");
});

test("two responders on one link defend an address once each, and do not answer each other", async () => {
  const second = await startResponder(neighbour, "--interface", "eth0", "--address", WANTED);
  const tcpdump = await claimer.start(["tcpdump", "-Q", "in", "-elni", "eth0", "--immediate-mode", "arp"]);
  await tcpdump.waitForLine(/^listening on/);
  const answers = [await macOf(claimer.vif), neighbour.mac];
  // Both answer: neither gives way to what comes in from the link. A guest takes one of the answers.
  expect(answers).toContain(await arping(claimer, WANTED));
  await second.waitForLine(/"row":"arp-reply"/);

  await flood(claimer, [{ bytes: arpAnnouncement({ senderMac: claimer.mac, address: WANTED }) }], 20);
  for (const one of [responder, second])
    await one.waitForLine(new RegExp(`"address":"${WANTED}".*"askerMac":"${claimer.mac}".*"msg":"claimed`));
  // Whatever they would still have to say to each other comes before this.
  expect(await arping(claimer, SERVICE)).toBe(answers[0]);
  await second.stop();
  await tcpdump.stop("SIGINT");
  const announcement = new RegExp(
    `^\\S+ (\\S+) > ${BROADCAST_MAC}, .* who-has ${WANTED} .*tell ${WANTED}`,
    "gm",
  );
  const announced = [...tcpdump.stdout().matchAll(announcement)].map(([, mac]) => mac);
  expect(announced.sort(), tcpdump.stdout()).toEqual(answers.sort());
});

test("what the kernel's datapath answers is left to it, until it is gone", async () => {
  const agent = await startAgent(lab, {
    services: [{ name: "web", address: SERVICE, port: 80, backends: ["10.0.1.1:80"] }],
    interfaces: [{ name: onLink.vif }],
  });
  // The first answer of the datapath is how the responder gets to know of it.
  await arping(onLink, SERVICE);
  expect(await arping(onLink, SERVICE)).toBe(GATEWAY_MAC);
  await responder.waitForLine(new RegExp(`"mac":"${GATEWAY_MAC}".*left to it`));
  const { stdout } = await onLink.run(["arping", "-b", "-c3", "-w3", "-I", "eth0", SERVICE]);
  expect(stdout).toContain("Received 3 response(s)");
  expect(stdout.match(new RegExp(GATEWAY_MAC, "gi"))).toHaveLength(3);
  await agent.stop();
  expect((await onlink(lab, "down")).code).toBe(0);
  expect(await arping(onLink, SERVICE)).toBe(await macOf(onLink.vif));
  await responder.waitForLine(/"msg":"nobody else answers any more"/);
});

test("it ends on SIGTERM, and says what it did", async () => {
  expect(await responder.stop()).toEqual({ code: 0, signal: null });
  expect(responder.stderr()).toBe("");
  expect(responder.stdout()).toMatch(/"signal":"SIGTERM","answered":\d+,"dropped":\d+,"msg":"stopping"/);
  expect(await arping(onLink, SERVICE)).toBeUndefined();
});

test("it says what is missing", async () => {
  const { code, stderr } = await lab.host.run([
    ...[
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--bounding-set=-all",
      "--inh-caps=-all",
    ],
    ...[process.execPath, ONLINK, "respond", "--interface", onLink.vif, "--address", SERVICE],
  ]);
  expect(code).toBe(1);
  expect(stderr).toBe("onlink: to capture and send takes root or CAP_NET_RAW; run it with sudo\n");
});
