import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import type { RequestSeen } from "./http-server.ts";
import { builtFile, type Lab, type Namespace, openLab } from "./lab.ts";
import { startDnsServer, startHttpServer } from "./servers.ts";
import { waitFor } from "./wait.ts";

const web = { name: "web", link: "veth", address: "10.0.1.3/24", gateway: "10.0.1.1" } as const;

/** Runs a command that must succeed; returns what it wrote. */
async function output(where: Namespace, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await where.run(argv);
  expect(code, `${argv.join(" ")}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

const ping = (from: Namespace, address: string) => output(from, "ping", "-c1", "-W2", address);

describe("guests", () => {
  test.each(["veth", "bridge", "tap"] as const)(
    "one behind a %s reaches its gateway through its vif",
    async (link) => {
      await using lab = await openLab();
      if (link === "bridge") await lab.addBridge({ name: "br0", address: "10.0.1.1/24" });
      const guest = await lab.addGuest({
        ...web,
        link,
        behaviour: "routed",
        ...(link === "bridge" && { bridge: "br0" }),
      });
      await ping(guest, "10.0.1.1");
      const [vif] = JSON.parse(await output(lab.host, "ip", "-json", "-stats", "link", "show", guest.vif));
      expect(vif.stats64.rx.packets).toBeGreaterThanOrEqual(2);
      const neighbours = await output(lab.host, "ip", "neigh", "show", "10.0.1.3");
      expect(neighbours).toContain(`lladdr ${guest.mac}`);
    },
  );

  test("two on one bridge reach each other", async () => {
    await using lab = await openLab();
    await lab.addBridge({ name: "br0", address: "10.0.2.1/24" });
    const [one] = await lab.addGuests(
      [2, 3].map((host) => ({
        name: `guest${host}`,
        link: "bridge",
        bridge: "br0",
        behaviour: "routed",
        address: `10.0.2.${host}/24`,
        gateway: "10.0.2.1",
      })),
    );
    await ping(one!, "10.0.2.3");
  });

  test("an on-link guest asks for a link-local address itself, a routed one its gateway", async () => {
    await using lab = await openLab();
    const onLink = await lab.addGuest({ ...web, behaviour: "on-link" });
    const routed = await lab.addGuest({
      ...web,
      name: "db",
      behaviour: "routed",
      address: "10.0.0.10/24",
      gateway: "10.0.0.1",
    });
    const neighbour = async (guest: Namespace) => {
      const { code } = await guest.run(["ping", "-c1", "-W1", "169.254.169.254"]);
      expect(code).not.toBe(0);
      return output(guest, "ip", "neigh", "show", "169.254.169.254");
    };
    const [asked, notAsked] = await Promise.all([neighbour(onLink), neighbour(routed)]);
    expect(asked).toMatch(/FAILED|INCOMPLETE/);
    expect(notAsked).toBe("");
    expect(await output(routed, "ip", "neigh", "show", "10.0.0.1")).toMatch(/lladdr/);
  });

  test("two may have one address, with a gateway that nobody holds", async () => {
    await using lab = await openLab();
    const [one, other] = await lab.addGuests(
      (["red", "blue"] as const).map((name) => ({ ...web, name, behaviour: "routed", gatewayOnHost: false })),
    );
    expect([one!.address, one!.vif]).toEqual([other!.address, "vif-red"]);
    expect(await output(other!, "ip", "neigh", "show", "10.0.1.1")).toMatch(
      /lladdr 00:00:5e:00:01:00 PERMANENT/,
    );
  });

  test("a gateway address is held by one vif only", async () => {
    await using lab = await openLab();
    await lab.addGuest({ ...web, behaviour: "routed" });
    await expect(lab.addGuest({ ...web, name: "db", behaviour: "routed" })).rejects.toThrow(
      'guest "db": another vif holds 10.0.1.1 already; give the guest gatewayOnHost: false',
    );
  });

  test("an error of iproute2 is told with the namespace it came from", async () => {
    await using lab = await openLab();
    await expect(lab.addGuest({ ...web, behaviour: "routed", gateway: "10.9.9.9" })).rejects.toThrow(
      /Nexthop has invalid gateway.*in a batch of: ip -n web/s,
    );
  });

  test("200 are up within seconds", async () => {
    await using lab = await openLab();
    const begin = performance.now();
    const guests = await lab.addGuests(
      Array.from({ length: 200 }, (_, index) => ({
        name: `guest${index}`,
        link: "veth",
        behaviour: index % 2 === 0 ? "routed" : "on-link",
        address: `10.1.${index}.2/24`,
        gateway: `10.1.${index}.1`,
      })),
    );
    expect(performance.now() - begin).toBeLessThan(5_000);
    await ping(guests[199]!, "10.1.199.1");
  });
});

describe("fabric and servers", () => {
  test("HTTP: who asked, bytes by number, and the body back", async () => {
    await using lab = await openLab();
    const fabric = await lab.addFabric({
      name: "fab0",
      hostAddress: "192.0.2.1/24",
      address: "192.0.2.10/24",
    });
    await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
    const base = "http://192.0.2.10:8080";
    const seen: RequestSeen = JSON.parse(
      await output(lab.host, "curl", "-s", "-H", "X-One: 1", `${base}/a?b`),
    );
    expect(seen).toMatchObject({ peer: "192.0.2.1", method: "GET", url: "/a?b", headers: { "x-one": "1" } });
    const size = ["-s", "-o", "/dev/null", "-w", "%{size_download}"];
    expect(await output(lab.host, "curl", ...size, `${base}/bytes/30000001`)).toBe("30000001");
    expect(await output(lab.host, "curl", "-s", "-d", "hello", `${base}/echo`)).toBe("hello");
  });

  test("DNS: a fixed address, who asked, and answers of a given size", async () => {
    await using lab = await openLab();
    await startDnsServer(lab.host, { address: "127.0.0.1", port: 53 });
    const dig = (...query: string[]) => output(lab.host, "dig", "@127.0.0.1", "+short", ...query);
    expect(await dig("a.test", "A")).toBe("203.0.113.53\n");
    expect(await dig("who.test", "TXT")).toBe('"127.0.0.1"\n');
    expect((await dig("size-1400.test", "TXT", "+bufsize=4096")).length).toBeGreaterThan(1300);
  });
});

test("a lab changes no file of the real host, and has places of its own to write to", async () => {
  await using lab = await openLab();
  const guest = await lab.addGuest({ ...web, behaviour: "routed" });
  for (const where of [lab.host, guest]) {
    const { code, stderr } = await where.run(["touch", "/etc/written-by-a-lab"]);
    expect(code).toBe(1);
    expect(stderr).toContain("Read-only file system");
    await output(where, "touch", "/run/written", "/var/lib/written");
  }
  for (const path of ["/etc/written-by-a-lab", "/run/written", "/var/lib/written"])
    expect(existsSync(path), path).toBe(false);
});

describe("processes", () => {
  test("a started one is awaited by what it writes, and stopped by a signal", async () => {
    await using lab = await openLab();
    const process = await lab.host.start([
      "sh",
      "-c",
      "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.01; done",
    ]);
    expect(await process.waitForLine(/^hel+o$/)).toBe("hello");
    expect(await process.stop()).toEqual({ code: 3, signal: null });
    expect(process.stdout()).toBe("hello\nbye\n");
    await expect(process.waitForLine(/never/)).rejects.toThrow(
      /ended before it wrote a line that matches \/never\//,
    );
  });

  test("one that takes too long is killed", async () => {
    await using lab = await openLab();
    await expect(lab.host.run(["sleep", "60"], { timeout: 100 })).rejects.toThrow(
      '"sleep 60" did not end within 100 ms',
    );
    await waitFor("the end of sleep", async () => (await lab.host.run(["pidof", "sleep"])).code === 1);
  });

  test("orphans are reaped", async () => {
    await using lab = await openLab();
    await output(lab.host, "sh", "-c", "(sleep 0.05 &) ; exit 0");
    await waitFor("the end of the orphan", async () => (await lab.host.run(["pidof", "sleep"])).code === 1);
    expect(await output(lab.host, "ps", "-eo", "stat=")).not.toContain("Z");
  });
});

test("a raw tap carries frames byte for byte", async () => {
  await using lab = await openLab();
  const tap = await lab.rawTap("tap0");
  await output(lab.host, "ip", "addr", "add", "10.0.4.1/24", "dev", "tap0");
  const [{ address }] = JSON.parse(await output(lab.host, "ip", "-json", "link", "show", "tap0"));
  const mac = address.replaceAll(":", "");
  tap.send(
    Buffer.from(
      `ffffffffffff020000000001080600010800060400010200000000010a000402${"00".repeat(6)}0a000401`,
      "hex",
    ),
  );
  const reply = await tap.nextFrame((frame) => frame.readUInt16BE(12) === 0x0806);
  expect(reply.toString("hex")).toBe(
    `020000000001${mac}08060001080006040002${mac}0a0004010200000000010a000402`,
  );
  await expect(tap.nextFrame((frame) => frame.length === 1, 20)).rejects.toThrow(
    /no frame that matches came from tap0/,
  );
});

describe("the end of a lab", () => {
  /**
   * Ties a veth pair from `observer` to the network namespaces that processes are in; the returned function tells
   * which still exist. A namespace that no process is in any more shows nowhere else, and the pair goes only when the
   * namespace does.
   */
  function tie(observer: Lab, pids: readonly number[]): () => string[] {
    const inObserver = (...argv: string[]) =>
      execFileSync("nsenter", [`--net=${observer.hostNamespace}`, ...argv], { encoding: "utf8" });
    for (const pid of pids) {
      const name = `tie${pid}`;
      inObserver("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", `${pid}`);
    }
    return () =>
      inObserver("ip", "-oneline", "link", "show", "type", "veth")
        .split("\n")
        .filter((line) => line !== "");
  }

  const isGone = (pid: number) => !existsSync(`/proc/${pid}`);

  test("close takes processes and namespaces along, and may be called twice", async () => {
    await using observer = await openLab();
    const lab = await openLab();
    const guest = await lab.addGuest({ ...web, behaviour: "routed" });
    await lab.rawTap("tap0");
    const processes = [await lab.host.start(["sleep", "600"]), await guest.start(["sleep", "600"])];
    const pids = processes.map(({ pid }) => pid!);
    const ties = tie(observer, pids);
    expect(ties()).toHaveLength(2);

    await lab.close();
    await lab.close();
    expect(pids.every(isGone)).toBe(true);
    expect(await processes[0]!.ended).toEqual({ code: null, signal: "SIGKILL" });
    await waitFor("the namespaces to go", () => ties().length === 0);
  });

  test("SIGKILL of the process that opened it leaves nothing either", async () => {
    await using observer = await openLab();
    const script = `
      import { openLab } from ${JSON.stringify(builtFile("lab.js"))};
      const lab = await openLab();
      const guest = await lab.addGuest(${JSON.stringify({ ...web, link: "tap", behaviour: "on-link" })});
      await lab.rawTap("tap0");
      await lab.host.run(["sh", "-ec", "mkdir /run/bpf; mount -t bpf bpf /run/bpf; mkdir /run/bpf/pinned"]);
      const processes = [await lab.host.start(["sleep", "600"]), await guest.start(["sleep", "600"])];
      const holder = Number(lab.root.split("/")[2]);
      console.log(JSON.stringify([holder, ...processes.map(({ pid }) => pid)]));
    `;
    const owner = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line] = await once(createInterface({ input: owner.stdout }), "line");
      const pids: number[] = JSON.parse(line);
      const ties = tie(observer, pids.slice(1));
      expect(ties()).toHaveLength(2);

      owner.kill("SIGKILL");
      await waitFor("the processes to go", () => pids.every(isGone));
      await waitFor("the namespaces to go", () => ties().length === 0);
    } finally {
      owner.kill("SIGKILL");
    }
  });
});
