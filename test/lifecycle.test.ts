/** Starting, stopping, dying, adopting and leaving. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, ONLINK, onlink, startAgent, statusOf, writeConfig } from "./support/agent.ts";
import { requestFrom, shell } from "./support/commands.ts";
import { startDownload } from "./support/download.ts";
import { WEB } from "./support/guest.ts";
import { hostState, pinnedObjects, stillThere } from "./support/traces.ts";

const LOCAL = "http://169.254.169.254";
const FABRIC = "http://169.254.169.253";
const CONFIG = {
  services: [
    { name: "local", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] },
    { name: "fabric", address: "169.254.169.253", port: 80, backends: ["192.0.2.10:8080"] },
  ],
  interfaces: [{ name: "vif-*" }],
};

let lab: Lab;
let guest: Guest;
let fabric: Fabric;

beforeEach(async () => {
  lab = await openLab();
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guest = await lab.addGuest(WEB);
  // IPv6 gives every link an address of its own accord, some time after it came up: nothing for a comparison.
  await shell(lab.host, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
});
afterEach(() => lab?.close());

async function startServers(): Promise<void> {
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
}

async function expectService(): Promise<void> {
  expect((await requestFrom(guest, LOCAL)).peer).toBe("169.254.64.2");
  expect((await requestFrom(guest, FABRIC)).peer).toBe("192.0.2.1");
}

describe("the datapath outlives the agent", () => {
  test("SIGTERM, kill -9 and new starts: old and new connections go on, counters too", async () => {
    await startServers();
    let agent = await startAgent(lab, CONFIG);
    await expectService();

    const downloads = await Promise.all([LOCAL, FABRIC].map((url) => startDownload(lab, guest, url)));
    /** New connections are served, and the old ones bring more bytes. */
    const expectAllGoesOn = async () => {
      await expectService();
      const sizes = downloads.map(({ size }) => size());
      await waitFor("both downloads to go on", () =>
        downloads.every(({ size }, index) => size() > sizes[index]!),
      );
    };
    await expectAllGoesOn();
    const before = await statusOf(lab);

    expect(await agent.stop("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(agent.stdout()).toContain("the datapath stays in place");
    await expectAllGoesOn();
    const status = await onlink(lab, "status", "--config", CONFIG_FILE);
    expect(status.code).toBe(3);
    expect(status.stderr).toMatch(
      /^onlink: no agent answers on .*the datapath in \/run\/onlink is in place.*\n$/,
    );

    agent = await startAgent(lab, CONFIG);
    await expectAllGoesOn();
    const objects = await pinnedObjects(lab);
    expect(await agent.stop("SIGKILL")).toEqual({ code: null, signal: "SIGKILL" });
    await expectAllGoesOn();
    await startAgent(lab, CONFIG);
    await expectAllGoesOn();
    expect((await pinnedObjects(lab)).map, "maps adopted").toEqual(objects.map);

    const after = await statusOf(lab);
    expect(after.interfaces[0]).toMatchObject({ state: "attached", metadataAddress: "169.254.64.2" });
    for (const reason of ["forwarded", "returned"] as const) {
      expect(Number(after.counters[reason].frames)).toBeGreaterThan(Number(before.counters[reason].frames));
    }
    for (const download of downloads) await download.finish();
  });

  test("a start in the other way to attach takes over from the first", async () => {
    await startServers();
    for (const attach of ["clsact", "tcx", "clsact"]) {
      const agent = await startAgent(lab, { ...CONFIG, agent: { attach } });
      expect((await statusOf(lab)).attach).toBe(attach);
      await expectService();
      await agent.stop();
      expect((await hostState(lab)).hooks!.includes("onlink_vif")).toBe(attach === "clsact");
    }
  });

  test("what changed while no agent ran is taken in at the start", async () => {
    await startServers();
    const agent = await startAgent(lab, CONFIG);
    await agent.stop();
    await shell(lab.host, "ip link set vif-web name plain0");
    await lab.addGuest({ ...WEB, name: "new", address: "10.0.2.3/24", gateway: "10.0.2.1" });
    await startAgent(lab, { ...CONFIG, services: CONFIG.services.slice(0, 1) });
    const status = await statusOf(lab);
    expect(status.interfaces.map(({ name }) => name)).toEqual(["vif-new"]);
    expect(status.services.map(({ name }) => name)).toEqual(["local"]);
    expect(status.fabric).toEqual([]);
    expect((await guest.run(["arping", "-c1", "-w1", "-I", "eth0", "169.254.169.254"])).code).toBe(1);
  });
});

describe("leaving", () => {
  test.each(["tcx", "clsact"])("down leaves nothing, attached by %s", async (attach) => {
    await writeConfig(lab, "");
    await shell(lab.host, "echo 8080,9000-9010 >/proc/sys/net/ipv4/ip_local_reserved_ports");
    const before = await hostState(lab);
    await startServers();
    const agent = await startAgent(lab, { ...CONFIG, agent: { attach } });
    await expectService();
    const during = await hostState(lab);
    for (const what of ["links", "addresses", "routes", "settings", "mounts", "files"]) {
      expect(during[what], what).not.toBe(before[what]);
    }
    const objects = await pinnedObjects(lab);
    expect(objects.prog.length).toBeGreaterThanOrEqual(3);
    expect(objects.map.length).toBeGreaterThan(32);
    expect(objects.link).toHaveLength(attach === "tcx" ? 3 : 0);

    const refused = await onlink(lab, "down", "--config", CONFIG_FILE);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /^onlink: another onlink agent \(pid \d+\) works in \/run\/onlink; stop it first.*\n$/,
    );
    await expectService();

    await agent.stop();
    const { code, stderr } = await onlink(lab, "down", "--config", CONFIG_FILE);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(await hostState(lab)).toEqual(before);
    // The kernel frees them when nobody can be running them any more.
    await waitFor("the BPF objects to go", async () => {
      const left = await stillThere(lab, objects);
      return left.prog.length + left.map.length + left.link.length === 0;
    });

    const again = await onlink(lab, "down", "--config", CONFIG_FILE);
    expect(again).toMatchObject({ code: 0, stdout: "nothing of onlink in /run/onlink\n" });
    await startAgent(lab, CONFIG);
    await expectService();
  });

  test("down takes the things of former configurations too, also when the last start failed", async () => {
    await writeConfig(lab, "");
    const before = await hostState(lab);
    const agent = await startAgent(lab, {
      ...CONFIG,
      agent: { device: "former0", stateDir: "/var/lib/former" },
    });
    await agent.stop();
    await shell(lab.host, "ip link add onlink0 type bridge");
    expect((await onlinkRun(CONFIG)).code).toBe(1);
    await shell(lab.host, "ip link del onlink0");
    await (await startAgent(lab, CONFIG)).stop();
    expect((await hostState(lab)).links).not.toContain("former0");
    expect((await onlink(lab, "down", "--config", CONFIG_FILE)).code).toBe(0);
    expect(await hostState(lab)).toEqual(before);
  });

  test.each([
    ["agent.json", "rm /run/onlink/agent.json"],
    ["the runtime directory", "umount /run/onlink/bpf && rm -r /run/onlink"],
  ])("down without %s goes by the configuration", async (_, lose) => {
    await writeConfig(lab, "");
    const before = await hostState(lab);
    await (await startAgent(lab, CONFIG)).stop();
    await shell(lab.host, lose);
    expect((await onlink(lab, "down", "--config", CONFIG_FILE)).stdout).toContain("removed device onlink0\n");
    expect(await hostState(lab)).toEqual(before);
  });

  test("down and run say that the record is damaged", async () => {
    await (await startAgent(lab, CONFIG)).stop();
    await shell(lab.host, "echo '{' >/run/onlink/agent.json");
    for (const command of ["run", "down"]) {
      const { code, stderr } = await onlink(lab, command, "--config", CONFIG_FILE);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^onlink: \/run\/onlink\/agent\.json is damaged \(.*\); delete it: .*\n$/);
    }
  });

  test("down after kill -9 leaves nothing either", async () => {
    await writeConfig(lab, "");
    const before = await hostState(lab);
    const agent = await startAgent(lab, CONFIG);
    await agent.stop("SIGKILL");
    expect((await onlink(lab, "down")).code).toBe(0);
    expect(await hostState(lab)).toEqual(before);
  });
});

test("a second agent on the same runtime directory is refused, and changes nothing", async () => {
  await startServers();
  await startAgent(lab, CONFIG);
  await writeConfig(lab, { ...CONFIG, interfaces: [{ name: "other*" }] }, "/run/other.yaml");
  const before = await hostState(lab);
  const second = await onlink(lab, "run", "--config", "/run/other.yaml");
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(
    /^onlink: another onlink agent \(pid \d+\) works in \/run\/onlink; stop it first, or give this one another agent\.runtimeDir, agent\.stateDir, agent\.device and agent\.metadataAddresses\n$/,
  );
  expect(await hostState(lab)).toEqual(before);
  await expectService();
});

test("a second agent with another runtime directory is refused the first one's device", async () => {
  await startServers();
  await startAgent(lab, CONFIG);
  const other = { ...CONFIG, agent: { runtimeDir: "/run/other", stateDir: "/var/lib/other" } };
  await writeConfig(lab, other, "/run/other.yaml");
  const before = await hostState(lab);
  const second = await onlink(lab, "run", "--config", "/run/other.yaml");
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(
    /^onlink: the interface onlink0 belongs to the onlink agent of \/run\/onlink; give this one another agent\.device and agent\.metadataAddresses, .*\n$/,
  );
  expect((await onlink(lab, "down", "--config", "/run/other.yaml")).code).toBe(0);
  const after = await hostState(lab);
  expect({ ...after, files: "" }).toEqual({ ...before, files: "" });
  await expectService();
});

test("in a private mount namespace the agent does not mount the bpffs, and takes one of the host's", async () => {
  await startServers();
  await writeConfig(lab, CONFIG);
  const before = await hostState(lab);
  const argv = ["unshare", "--mount", process.execPath, ONLINK, "run", "--config", CONFIG_FILE];
  const refused = await lab.host.run(argv);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /^onlink: this is a private mount namespace: .*mount -t bpf bpf \/run\/onlink\/bpf/,
  );
  expect({ ...(await hostState(lab)), files: "" }).toEqual({ ...before, files: "" });

  await shell(lab.host, "mkdir -p /run/onlink/bpf && mount -t bpf bpf /run/onlink/bpf");
  const agent = await lab.host.start(argv);
  await agent.waitForLine(/"msg":"ready"/);
  await agent.stop("SIGTERM");
  await expectService();
});

test("a start with api.socket in the place of a file, or in no directory, changes nothing", async () => {
  await writeConfig(lab, "");
  await shell(lab.host, "echo keep me >/run/notes");
  const before = await hostState(lab);
  for (const socket of ["/run/notes", "/run/nowhere/onlink.sock"]) {
    const { code, stderr } = await onlinkRun({ ...CONFIG, api: { socket } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/api\.socket/);
  }
  expect(await hostState(lab)).toEqual(before);
  expect(await shell(lab.host, "cat /run/notes")).toBe("keep me\n");
});

test("a deleted device is made anew", async () => {
  await startServers();
  const agent = await startAgent(lab, CONFIG);
  await expectService();
  await shell(lab.host, "ip link del onlink0");
  await agent.waitForLine(/"msg":"the host device was gone; made anew"/);
  await expectService();
});

test("a device of the same name that is not onlink's is left alone", async () => {
  await shell(lab.host, "ip link add onlink0 type bridge");
  const result = await onlinkRun(CONFIG);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/^onlink: the interface onlink0 is there already and is not onlink's.*\n$/);
  expect((await onlink(lab, "down")).code).toBe(0);
  await shell(lab.host, "ip -d link show onlink0 | grep bridge");
});

test("status without an agent says so", async () => {
  const { code, stdout, stderr } = await onlink(lab, "status");
  expect(code).toBe(3);
  expect(stdout).toBe("");
  expect(stderr).toBe("onlink: no agent answers on /run/onlink/onlink.sock; start one with: onlink run\n");
});

test("check: a good configuration, and one with errors", async () => {
  const before = await hostState(lab);
  await writeConfig(lab, CONFIG);
  const good = await onlink(lab, "check", "--config", CONFIG_FILE);
  expect(good.code, good.stdout).toBe(0);
  expect(good.stdout).toMatch(/^ok +config +\/run\/onlink\.yaml$/m);
  expect(good.stdout).not.toContain("FAIL");

  await writeConfig(lab, { ...CONFIG, servces: [] });
  const bad = await onlink(lab, "check", "--config", CONFIG_FILE);
  expect(bad.code).toBe(1);
  expect(bad.stdout).toMatch(/^FAIL +config +\/run\/onlink\.yaml:\d+:\d+: .*did you mean "services"\?/m);
  await shell(lab.host, `rm ${CONFIG_FILE}`);
  expect(await hostState(lab)).toEqual(before);
});

/** Writes a configuration and starts an agent that is expected to end by itself. */
async function onlinkRun(config: object | string) {
  await writeConfig(lab, config);
  return onlink(lab, "run", "--config", CONFIG_FILE);
}

test("a wrong configuration is told with its line, and nothing is touched", async () => {
  const service = (fields: string, name = "web") => `  - { name: ${name}, ${fields} }\n`;
  const file = (services: string, rest = "") =>
    `services:\n${services}interfaces:\n  - { name: "vif-*" }\n${rest}`;
  const good = 'address: 169.254.169.254, port: 80, backends: ["127.0.0.1:8080"]';
  const cases: Array<[config: string, line: number, message: RegExp]> = [
    [
      file(service(good.replace("169.254.169.254", "10.0.0.1"))),
      2,
      /10\.0\.0\.1 is not link-local.*allowAnyAddress/,
    ],
    [file(service(good.replace("169.254.169.254", "169.254.0.7"))), 2, /169\.254\.0\.7 is reserved/],
    [file(service(good.replace("169.254.169.254", "169.254.255.255"))), 2, /169\.254\.255\.255 is reserved/],
    [file(service(good.replace("port: 80", "port: 65536"))), 2, /65536 is not a port; expected 1-65535/],
    [
      file(service(good) + service(good, "other")),
      3,
      /tcp 169\.254\.169\.254:80 is already taken by services\[0\]/,
    ],
    [file(service(good.replace("127.0.0.1:8080", "127.0.0.1"))), 2, /"127\.0\.0\.1" is not a backend/],
    [file(service(`${good}, prot: tcp`)), 2, /unknown field "prot"/],
    [
      file(service(good), "agent: { attach: xdp }\n"),
      5,
      /"xdp" is not a way to attach; expected auto, tcx or clsact/,
    ],
    ["services: [\n", 2, /not YAML/],
    [file(service(good)).replace("vif-*", "lo"), 4, /"lo" is the loopback interface/],
  ];
  await writeConfig(lab, "");
  const before = await hostState(lab);
  for (const [config, line, message] of cases) {
    const { code, stdout, stderr } = await onlinkRun(config);
    expect(code, config).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(new RegExp(`^/run/onlink\\.yaml:${line}:\\d+: [^\\n]+\\n$`));
  }
  expect(await hostState(lab)).toEqual(before);
});
