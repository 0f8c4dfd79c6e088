/** The metadata service in front of a server like Nova, as guests see it. */
import { chmod, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { CONFIG_FILE, onlink, startAgent, writeConfig } from "./support/agent.ts";
import { CURL, output, shell } from "./support/commands.ts";

const NOVA = fileURLToPath(new URL("support/nova.py", import.meta.url));
const GUESTS = 50;
const URL_OF = "http://169.254.169.254";
const SECRET = "very-s3cret-indeed";
const SECRET_FILE = "/run/secret";

const instanceOf = (index: number) => `6f3a0a3e-3b1c-4f0e-9a53-${String(index).padStart(12, "0")}`;
const PROJECT = "0f7c1e0a-5b52-4f3e-8a0e-6d4f0b7a9e21";

let lab: Lab;
let fabric: Fabric;
let guests: Guest[];
let agent: LabProcess;

function configOf(proxy: object): object {
  return {
    services: [
      { name: "metadata", address: "169.254.169.254", port: 80, kind: "metadata" },
      { name: "elsewhere", address: "169.254.169.253", port: 8080, kind: "metadata" },
    ],
    interfaces: [
      ...guests.slice(0, GUESTS).map(({ vif }, index) => ({
        name: vif,
        instanceId: instanceOf(index),
        projectId: PROJECT,
        addresses: ["10.0.1.3"],
      })),
      { name: "vif-*" },
    ],
    metadata: { mode: "proxy", proxy, limits: { requestsPerSecond: 10_000 } },
  };
}
const PLAIN = { upstream: "http://192.0.2.10:8775", secretFile: SECRET_FILE };

async function setSecret(secret: string): Promise<void> {
  await writeFile(lab.root + SECRET_FILE, `${secret}\n`);
  await chmod(lab.root + SECRET_FILE, 0o600);
}

/** Gives the agent another configuration, or the same once more, and waits until it has taken it or refused it. */
async function reload(config: object): Promise<string> {
  const seen = agent.stdout().length;
  await writeConfig(lab, config);
  agent.kill("SIGHUP");
  const news = () => agent.stdout().slice(seen);
  await expect
    .poll(news, { timeout: 20_000 })
    .toMatch(/"msg":"(metadata settings taken over|configuration refused)/);
  return news();
}

/** The status that a guest gets, and the body. */
async function ask(guest: Guest, path: string, ...options: string[]): Promise<string> {
  const curl = ["curl", "-sS", "--max-time", "20", "-w", "%{http_code}", ...options, `${URL_OF}${path}`];
  return (await output(guest, curl)).trim();
}

beforeAll(async () => {
  lab = await openLab();
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: "192.0.2.10/24" });
  guests = await lab.addGuests(
    Array.from({ length: GUESTS + 1 }, (_, index) => ({
      name: `g${index}`,
      link: "veth",
      behaviour: index % 2 === 0 ? "routed" : "on-link",
      address: "10.0.1.3/24",
      gateway: "10.0.1.1",
      gatewayOnHost: false,
    })),
  );
  await setSecret(SECRET);
  const nova = await fabric.start(["python3", NOVA, "192.0.2.10", "8775", SECRET]);
  await nova.waitForLine(/^ready$/);
  agent = await startAgent(lab, configOf(PLAIN));
});
afterAll(() => lab?.close());

test(`${GUESTS} guests with the same address, asking at the same time, each get what is theirs`, async () => {
  const claims = `-H "X-Instance-ID: ${instanceOf(0)}" -H "x_instance_id_signature: 00" -H "X-Metadata-Provider: me"`;
  const answers = await Promise.all(
    guests
      .slice(0, GUESTS)
      .map((guest, index) =>
        shell(
          guest,
          `${CURL.join(" ")} ${claims} "${URL_OF}/${index}/[1-5]" "http://169.254.169.253:8080/${index}/6"`,
          { timeout: 60_000 },
        ),
      ),
  );
  const tenant = PROJECT.replaceAll("-", "");
  for (const [index, answer] of answers.entries()) {
    const expected = [1, 2, 3, 4, 5, 6].map(
      (n) => `GET /${index}/${n} ${instanceOf(index)} ${tenant} 10.0.1.3 0`,
    );
    expect(answer.trim().split("\n")).toEqual(expected);
  }
});

test("every method passes with its body, and a guest without an instance gets 404", async () => {
  const guest = guests[1]!;
  for (const method of ["POST", "PUT", "DELETE"]) {
    const answer = await ask(guest, "/x", "-X", method, "--data-binary", "abc");
    expect(answer).toMatch(new RegExp(`^${method} /x ${instanceOf(1)} .* 3\\n200$`));
  }
  const expect100 = ["-H", "Expect: 100-continue", "--expect100-timeout", "10"];
  expect(await ask(guest, "/x", "-T", NOVA, ...expect100)).toMatch(/^PUT \/x .* \d{4}\n200$/);
  expect(await ask(guest, "/x", "--head")).toMatch(/^HTTP\/1.1 200 OK\r\n.*\n200$/s);
  expect(await ask(guests[GUESTS]!, "/")).toMatch(/404$/);
});

test("a wrong secret is rejected by the upstream, and the right one is read at the next reload", async () => {
  await setSecret("another");
  await reload(configOf(PLAIN));
  expect(await ask(guests[0]!, "/")).toMatch(/403$/);
  await setSecret(SECRET);
  await reload(configOf(PLAIN));
  expect(await ask(guests[0]!, "/")).toMatch(/200$/);
});

test("upstream and secret change while guests ask, and no request fails", async () => {
  const other = await fabric.start(["python3", NOVA, "192.0.2.10", "8777", "other secret"]);
  await other.waitForLine(/^ready$/);
  const asking = guests
    .slice(0, 8)
    .map((guest) => shell(guest, `${CURL.join(" ")} -w "%{http_code}\n" -o /dev/null "${URL_OF}/[1-600]"`));
  for (const [secret, port] of [
    ["other secret", 8777],
    [SECRET, 8775],
    ["other secret", 8777],
    [SECRET, 8775],
  ] as const) {
    await setSecret(secret);
    await reload(configOf({ ...PLAIN, upstream: `http://192.0.2.10:${port}` }));
    // A request that comes after the reload was said to be done.
    expect(await ask(guests[9]!, "/")).toMatch(/200$/);
  }
  const statuses = (await Promise.all(asking)).join("").trim().split("\n");
  expect(statuses).toHaveLength(8 * 600);
  expect(new Set(statuses)).toEqual(new Set(["200"]));
});

test("an upstream over TLS must be the right one, and sees the client certificate", async () => {
  await shell(
    lab.host,
    `cd /run
    make() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$1 -keyout $1.key -out $1.pem "\${@:2}" 2>/dev/null; }
    make ca; make other
    make server -CA ca.pem -CAkey ca.key -addext subjectAltName=IP:192.0.2.10 -addext basicConstraints=critical,CA:FALSE
    make client -CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE`,
  );
  const nova = await fabric.start([
    "python3",
    NOVA,
    "192.0.2.10",
    "8776",
    SECRET,
    "/run/server.pem",
    "/run/server.key",
    "/run/ca.pem",
  ]);
  await nova.waitForLine(/^ready$/);
  const over = (tls: object) => configOf({ ...PLAIN, upstream: "https://192.0.2.10:8776", tls });
  const own = { cert: "/run/client.pem", key: "/run/client.key" };

  await reload(over({ ca: "/run/ca.pem", ...own }));
  expect(await ask(guests[0]!, "/tls")).toMatch(/^GET \/tls .*\n200$/);
  for (const wrong of [{ ca: "/run/ca.pem" }, { ca: "/run/other.pem", ...own }, own]) {
    await reload(over(wrong));
    expect(await ask(guests[0]!, "/tls"), JSON.stringify(wrong)).toMatch(/502$/);
  }
  const mixed = await reload(over({ ca: "/run/ca.pem", cert: "/run/client.pem", key: "/run/other.key" }));
  expect(mixed).toContain("metadata.proxy.tls: certificates or key cannot be used");
  expect(await ask(guests[0]!, "/")).toMatch(/502$/);
  await reload(configOf(PLAIN));
  expect(await ask(guests[0]!, "/")).toMatch(/200$/);
});

test("the secret is told to nobody, and a missing one changes nothing", async () => {
  expect(await reload(configOf({ ...PLAIN, secretFile: "/run/nothing" }))).toContain(
    "metadata.proxy.secretFile: cannot be read",
  );
  expect(await ask(guests[0]!, "/")).toMatch(/200$/);
  const written: string[] = [];
  for (const args of [["status"], ["status", "--json"], ["check"]]) {
    const { stdout, stderr } = await onlink(lab, ...args, "--config", CONFIG_FILE);
    written.push(stdout, stderr);
  }
  for (const proxy of [
    { ...PLAIN, secret: SECRET },
    { upstream: "x", secret: SECRET },
    { upstream: "x", secret: [SECRET] },
  ]) {
    await writeConfig(lab, configOf(proxy), "/run/wrong.yaml");
    const { code, stdout, stderr } = await onlink(lab, "check", "--config", "/run/wrong.yaml");
    expect(code).not.toBe(0);
    written.push(stdout, stderr);
  }
  expect(written.join("\n")).toContain("metadata.proxy");
  expect([...written, agent.stdout(), agent.stderr()].join("\n")).not.toContain(SECRET);
});

test("while the agent is stopped there is no metadata, and it comes back with it", async () => {
  await agent.stop();
  const { code } = await guests[0]!.run([...CURL, `${URL_OF}/`]);
  expect(code, "refused").toBe(7);
  agent = await startAgent(lab, configOf(PLAIN));
  expect(await ask(guests[0]!, "/")).toMatch(/200$/);
});
