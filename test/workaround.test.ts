/** The workaround as `onlink workaround` prints it, taken by real guests without onlink. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Guest, type Lab, type Namespace, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { onlink } from "./support/agent.ts";
import { output, requestFrom, shell } from "./support/commands.ts";

const SERVICE = "169.254.169.254";
const URL_OF_SERVICE = `http://${SERVICE}/`;
const GATEWAY = "10.0.1.1";

let lab: Lab;
let guest: Guest;

beforeEach(async () => {
  lab = await openLab();
  guest = await lab.addGuest({
    name: "win",
    link: "veth",
    behaviour: "on-link",
    address: "10.0.1.3/24",
    gateway: GATEWAY,
  });
  // A host whose gateway handles link-local traffic, and answers ARP for nothing but the gateway itself: Linux would
  // answer for every address that it has.
  await shell(
    lab.host,
    `ip address add ${SERVICE}/32 dev lo; echo 1 >/proc/sys/net/ipv4/conf/${guest.vif}/arp_ignore`,
  );
  await startHttpServer(lab.host, { address: SERVICE, port: 80 });
});
afterEach(() => lab?.close());

/** What `onlink workaround` prints, in its pieces. */
async function workaround(target: string, ...args: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await onlink(
    lab,
    ...["workaround", "--to", SERVICE, "--gateway", GATEWAY, "--for", target, ...args],
  );
  expect(code, stderr).toBe(0);
  return stdout.split("\n\n");
}

/** The one piece whose comment has these words. */
function pieceWith(pieces: readonly string[], words: string): string {
  const [piece, ...others] = pieces.filter((text) => text.includes(words));
  expect(others).toEqual([]);
  return `${piece}\n`;
}

async function expectReachable(): Promise<void> {
  expect((await requestFrom(guest, URL_OF_SERVICE)).peer).toBe("10.0.1.3");
}

async function expectUnreachable(): Promise<void> {
  expect((await guest.run(["curl", "--silent", "--max-time", "2", URL_OF_SERVICE])).code).not.toBe(0);
}

function paste(where: Namespace, piece: string, env: Record<string, string> = {}): Promise<string> {
  return output(where, ["/bin/sh", "-e"], { input: piece, env });
}

test.each([
  ["found by the gateway", []],
  ["named", ["--interface", "eth0"]],
])(
  "linux, interface %s: reachable after the printed commands, and not after the undo",
  async (_how, args) => {
    await expectUnreachable();
    const pieces = await workaround("linux", ...args);
    await paste(guest, pieceWith(pieces, "Until the next start"));
    await expectReachable();
    await paste(guest, pieceWith(pieces, "Undo"));
    expect(await output(guest, ["ip", "route", "show", SERVICE])).toBe("");
    await expectUnreachable();
  },
);

test("docker: from the host, with docker's word for the container's process", async () => {
  // Stands for docker, of which the workaround asks one thing: the process of a container.
  await mkdir(`${lab.root}/run/bin`);
  await writeFile(
    `${lab.root}/run/bin/docker`,
    '#!/bin/sh\n[ "$1 $4" = "inspect NAME" ] && cat /run/container.pid\n',
  );
  await chmod(`${lab.root}/run/bin/docker`, 0o755);
  const container = await guest.start([
    "/bin/sh",
    "-c",
    "echo $$ >/run/container.pid; echo up; exec sleep infinity",
  ]);
  await container.waitForLine(/^up$/);

  await expectUnreachable();
  const pieces = await workaround("docker");
  const env = { PATH: `/run/bin:${process.env.PATH}` };
  await paste(lab.host, pieceWith(pieces, "From the host"), env);
  await expectReachable();
  await paste(lab.host, pieceWith(pieces, "Undo"), env);
  await expectUnreachable();
});

describe("dhcp", () => {
  /** dnsmasq on the vif, with the printed lines, and without an option 3 that could give the default route. */
  async function serve(): Promise<void> {
    const lines = pieceWith(await workaround("dhcp"), "dnsmasq.conf");
    const settings = [
      ...[`interface=${guest.vif}`, "bind-interfaces", "port=0", "user=root", "log-dhcp", "log-facility=-"],
      ...["dhcp-range=10.0.1.3,10.0.1.3,255.255.255.0", "dhcp-option=3", "dhcp-leasefile=/run/leases"],
    ];
    await writeFile(`${lab.root}/run/dnsmasq.conf`, `${settings.join("\n")}\n${lines}`);
    const dnsmasq = await lab.host.start([
      "dnsmasq",
      "--keep-in-foreground",
      "--conf-file=/run/dnsmasq.conf",
    ]);
    await dnsmasq.waitForLine(/DHCP, sockets bound|DHCP, IP range/);
    await output(guest, ["ip", "address", "flush", "dev", "eth0"]);
    expect(await output(guest, ["ip", "route"])).toBe("");
  }

  test("dhcpcd takes option 121: the service is reachable, and the default route is kept", async () => {
    await serve();
    await mkdir(`${lab.root}/var/lib/dhcpcd`);
    const dhcpcd = await guest.start([
      "dhcpcd",
      "--nobackground",
      "--ipv4only",
      "--noarp",
      "--noipv4ll",
      "eth0",
    ]);
    await dhcpcd.waitForLine(/adding (host )?route to 169\.254\.169\.254/);
    await dhcpcd.waitForLine(/adding default route/);
    // As the stack of an on-link guest has it, whatever the lease says.
    await output(guest, ["ip", "route", "add", "169.254.0.0/16", "dev", "eth0", "scope", "link"]);
    const routes = await output(guest, ["ip", "route"]);
    expect(routes).toMatch(/^169\.254\.169\.254 via 10\.0\.1\.1 dev eth0 proto dhcp/m);
    expect(routes).toMatch(/^default via 10\.0\.1\.1 dev eth0 proto dhcp/m);
    await expectReachable();
  });

  test("udhcpc reads the same routes in options 121 and 249", async () => {
    await serve();
    const script = "/run/udhcpc.sh";
    await writeFile(lab.root + script, '#!/bin/sh\necho "$1 121=$staticroutes 249=$msstaticroutes"\n');
    await chmod(lab.root + script, 0o755);
    const told = await output(guest, [
      ...["busybox", "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", script],
      ...["-O", "staticroutes", "-O", "msstaticroutes"],
    ]);
    const routes = `${SERVICE}/32 ${GATEWAY} 0.0.0.0/0 ${GATEWAY}`;
    expect(told).toContain(`bound 121=${routes} 249=${routes}\n`);
  });
});
