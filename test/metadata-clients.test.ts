/** The builtin metadata service, as the programs see it that guests boot with. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, ONLINK, startAgent } from "./support/agent.ts";
import { bootWithCloudInit, userDataThatWrites } from "./support/cloud-init.ts";
import { output } from "./support/commands.ts";

const SERVICE = "http://169.254.169.254";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Yq0YfX7Q7T6b0c3pYl5mJ8mX9mYF0s6m1w5q0aAbc alice@example";
const CLOUDBASE = fileURLToPath(new URL("support/cloudbase_requests.py", import.meta.url));
const DIRECTORY = "/run/guests";

/** By name: guests of both kinds that know tokens, and such that do not. All have the same address, as tenants may. */
const GUESTS = {
  "onlink-v2": { behaviour: "on-link", tokens: true, id: "6f3a0a3e-3b1c-4f0e-9a53-000000000001" },
  "routed-v2": { behaviour: "routed", tokens: true, id: "6f3a0a3e-3b1c-4f0e-9a53-000000000002" },
  "onlink-v1": { behaviour: "on-link", tokens: false, id: "6f3a0a3e-3b1c-4f0e-9a53-000000000003" },
  "routed-v1": { behaviour: "routed", tokens: false, id: "6f3a0a3e-3b1c-4f0e-9a53-000000000004" },
} as const;
type GuestName = keyof typeof GUESTS;
const NAMES = Object.keys(GUESTS) as GuestName[];

const CONFIG = {
  services: [{ name: "metadata", address: "169.254.169.254", port: 80, kind: "metadata" }],
  metadata: { requireToken: true, builtin: { directory: DIRECTORY } },
  interfaces: NAMES.map((name) => ({
    name: `vif-${name}`,
    instanceId: GUESTS[name].id,
    addresses: ["10.0.1.3"],
    mac: "02:00:0a:00:01:03",
    gateway: { address: "10.0.1.1", answerArp: false },
    metadata: {
      hostname: `${name}.example`,
      publicKeys: { alice: KEY },
      userData: userDataThatWrites(`for ${name}`),
      network: { subnet: "10.0.1.0/24", nameservers: ["10.0.0.2"] },
      credentials: {
        role: "reader",
        accessKeyId: `AKIA-${name}`,
        secretAccessKey: "s3cret",
        token: "session",
        expiration: "2100-01-01T00:00:00Z",
      },
    },
    ...(GUESTS[name].tokens ? {} : { requireToken: false }),
  })),
};

let lab: Lab;
let guests: Record<GuestName, Guest>;
let agent: LabProcess;

beforeAll(async () => {
  lab = await openLab();
  await mkdir(lab.root + DIRECTORY);
  const made = await lab.addGuests(
    NAMES.map((name) => ({
      name,
      link: "veth",
      behaviour: GUESTS[name].behaviour,
      address: "10.0.1.3/24",
      gateway: "10.0.1.1",
      gatewayOnHost: false,
    })),
  );
  guests = Object.fromEntries(made.map((guest) => [guest.name, guest])) as Record<GuestName, Guest>;
  agent = await startAgent(lab, CONFIG);
});
afterAll(() => lab?.close());

/** Fetches a path; the body, and the status behind it on a line of its own. */
async function fetchIn(name: GuestName, path: string, ...options: string[]) {
  const argv = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", ...options, SERVICE + path];
  const [, body, status] = /^(.*)\n(\d+)$/s.exec(await output(guests[name], argv)) ?? [];
  return { status: Number(status), body };
}

function askToken(name: GuestName, ...options: string[]) {
  return fetchIn(
    name,
    "/latest/api/token",
    "-X",
    "PUT",
    "-H",
    "X-aws-ec2-metadata-token-ttl-seconds: 600",
    ...options,
  );
}

const showing = (token: string | undefined) => ["-H", `X-aws-ec2-metadata-token: ${token}`];

test.concurrent.each([
  ["Ec2", "onlink-v2"],
  ["Ec2", "routed-v2"],
  ["OpenStack", "onlink-v1"],
  ["OpenStack", "routed-v1"],
] as const)("cloud-init's data source %s sets %s up", async (datasource, name) => {
  const { network, ...booted } = await bootWithCloudInit(guests[name], datasource);
  expect(booted).toEqual({
    instanceId: GUESTS[name].id,
    hostname: name,
    keys: KEY,
    written: `for ${name}`,
  });
  // EC2's form tells no gateway, so cloud-init goes by DHCP.
  const lines = {
    Ec2: ["DHCP=ipv4"],
    OpenStack: ["Address=10.0.1.3/24", "Gateway=10.0.1.1", "DNS=10.0.0.2"],
  };
  expect(network.split("\n")).toEqual(expect.arrayContaining(lines[datasource]));
});

test.each(["onlink-v2", "routed-v2"] as const)(
  "an AWS SDK in %s gets the credentials of its role",
  async (name) => {
    const code = `
    const { fromInstanceMetadata } = await import(process.argv[1]);
    const { accessKeyId, secretAccessKey, sessionToken } = await fromInstanceMetadata({ maxRetries: 0, timeout: 10_000 })();
    console.log(JSON.stringify({ accessKeyId, secretAccessKey, sessionToken }));`;
    const sdk = import.meta.resolve("@aws-sdk/credential-providers");
    const printed = await output(guests[name], [process.execPath, "--input-type=module", "-e", code, sdk]);
    expect(JSON.parse(printed)).toEqual({
      accessKeyId: `AKIA-${name}`,
      secretAccessKey: "s3cret",
      sessionToken: "session",
    });
  },
);

test("an on-link guest without tokens gets all that cloudbase-init asks for, in the requests that it sends", async () => {
  const printed = await output(guests["onlink-v1"], ["python3", CLOUDBASE, `${SERVICE}/`]);
  const said = {
    hostname: "onlink-v1.example",
    instanceId: GUESTS["onlink-v1"].id,
    keys: [KEY],
    userData: userDataThatWrites("for onlink-v1"),
  };
  expect(JSON.parse(printed)).toEqual({
    ec2: said,
    openstack: {
      ...said,
      links: ["02:00:0a:00:01:03"],
      networks: [["10.0.1.3", "255.255.255.0", ["10.0.1.1"]]],
      nameservers: ["10.0.0.2"],
      depositsPassword: false,
    },
  });
});

test("without a token only those are served that know none, as Windows with cloudbase-init", async () => {
  const path = "/openstack/latest/meta_data.json";
  expect(JSON.parse((await fetchIn("onlink-v1", path)).body ?? "")).toMatchObject({
    hostname: "onlink-v1.example",
    public_keys: { alice: KEY },
  });
  expect((await fetchIn("onlink-v2", path)).status).toBe(401);
  expect((await askToken("onlink-v2", "-H", "X-Forwarded-For: 10.9.9.9")).status).toBe(403);
});

test("a token is its guest's alone, and holds after the agent was killed", async () => {
  const path = "/latest/meta-data/instance-id";
  const { body: token } = await askToken("routed-v2");
  await agent.stop("SIGKILL");
  agent = await startAgent(lab, CONFIG);
  expect(await fetchIn("routed-v2", path, ...showing(token))).toEqual({
    status: 200,
    body: GUESTS["routed-v2"].id,
  });
  for (const other of ["onlink-v2", "routed-v1"] as const) {
    expect((await fetchIn(other, path, ...showing(token))).status, other).toBe(401);
  }
  expect(agent.stdout()).not.toContain(token);
});

test("curl reads the tree, as text and as JSON", async () => {
  const tree = await fetchIn("routed-v1", "/latest/meta-data/public-keys/");
  expect(tree).toEqual({ status: 200, body: "0=alice" });
  const json = await fetchIn("routed-v1", "/latest/meta-data/network", "-H", "Accept: application/json");
  const of = { "device-number": "0", "local-hostname": "routed-v1.example", "local-ipv4s": "10.0.1.3" };
  expect(JSON.parse(json.body ?? "")).toEqual({
    interfaces: {
      macs: {
        "02:00:0a:00:01:03": { ...of, mac: "02:00:0a:00:01:03", "subnet-ipv4-cidr-block": "10.0.1.0/24" },
      },
    },
  });
  expect((await fetchIn("routed-v1", "/latest/meta-data/__proto__")).status).toBe(404);
});

test("what is said in a file, and by command, counts from then on, also after a restart", async () => {
  const hostname = async () => (await fetchIn("onlink-v1", "/latest/meta-data/hostname")).body;
  const file = `${lab.root + DIRECTORY}/vif-onlink-v1.yaml`;
  await writeFile(`${file}.new`, "hostname: by-file\n");
  await rename(`${file}.new`, file);
  await waitFor("what the file says", async () => (await hostname()) === "by-file");

  const patched = await lab.host.run(
    [process.execPath, ONLINK, "metadata", "patch", "vif-onlink-v1", "--file", "-", "--config", CONFIG_FILE],
    { input: "hostname: by-command" },
  );
  expect(patched).toMatchObject({ code: 0, stdout: "changed for vif-onlink-v1\n", stderr: "" });
  expect(await hostname()).toBe("by-command");
  await agent.stop();
  agent = await startAgent(lab, CONFIG);
  expect(await hostname()).toBe("by-command");
});
