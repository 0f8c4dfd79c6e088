/** Backends by name, and backends that are checked. */
import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Fabric, type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, onlink, startAgent, statusOf } from "./support/agent.ts";
import { CURL, output, requestFrom, shell } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";

const SERVICE = "http://169.254.169.254";
const [FIRST, SECOND, DNS] = ["192.0.2.11", "192.0.2.12", "192.0.2.10"];
/** Exit status of curl when the connection is refused. */
const CURL_REFUSED = 7;

let lab: Lab;
let guest: Guest;
let fabric: Fabric;

beforeEach(async () => {
  lab = await openLab();
  fabric = await lab.addFabric({ name: "fab0", hostAddress: "192.0.2.1/24", address: `${DNS}/24` });
  for (const address of [FIRST, SECOND]) {
    await output(fabric, ["ip", "addr", "add", `${address}/24`, "dev", "eth0"]);
  }
  guest = await lab.addGuest(WEB);
});
afterEach(() => lab?.close());

const start = (service: object) =>
  startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, ...service }],
    interfaces: [{ name: "vif-*" }],
  });

async function backends() {
  return (await statusOf(lab)).services[0]!.backends;
}

/** An upload under way, which goes on until something ends it. */
async function startUpload() {
  const upload = guest.run(
    ["/bin/sh", "-c", `${CURL.join(" ")} --limit-rate 100K -o /dev/null -T - ${SERVICE}/echo </dev/zero`],
    { timeout: 30_000 },
  );
  await waitFor("the upload's flow", async () => (await statusOf(lab)).flows.now > 0);
  return { ended: upload };
}

test("a name's new address takes the place of the old one, and the last one stays while DNS is dead", async () => {
  for (const address of [FIRST, SECOND]) await startHttpServer(fabric, { address, port: 8080 });
  const records = (address: string) => writeFile(`${lab.root}/run/records`, `${address} web.example\n`);
  await records(FIRST);
  await shell(
    lab.host,
    `echo nameserver ${DNS} >/run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf
     echo "127.0.0.1 here.example" >/run/hosts; mount --bind /run/hosts /etc/hosts`,
  );
  const dns = await fabric.start([
    ...["dnsmasq", "--keep-in-foreground", "--user=root", "--log-facility=-", "--no-resolv", "--no-hosts"],
    ...["--local=/example/", "--addn-hosts=/run/records", `--listen-address=${DNS}`, "--bind-interfaces"],
  ]);
  await dns.waitForLine(/read \/run\/records/);

  const names = ["web.example", "no.example", "here.example"];
  const config = { backends: names.map((name) => `${name}:8080`) };
  const agent = await start(config);
  await agent.waitForLine(/"name":"no.example".*"msg":"name not resolved"/);
  await agent.waitForLine(/"name":"here.example".*"msg":"name resolved"/);
  await agent.waitForLine(/"name":"web.example".*"msg":"name resolved"/);
  expect(await backends()).toMatchObject([
    { name: "web.example", address: FIRST, state: "in use", kind: "fabric" },
    { name: "no.example", state: "out of use", reason: "there is no such name (NXDOMAIN)" },
    { name: "here.example", address: "127.0.0.1", state: "in use", kind: "host-local" },
  ]);
  await agent.stop();

  const upstream = { backends: ["web.example:8080"] };
  const second = await start(upstream);
  await second.waitForLine(/"msg":"name resolved"/);
  await requestFrom(guest, SERVICE);
  const upload = await startUpload();
  await records(SECOND);
  dns.kill("SIGHUP");
  await second.waitForLine(new RegExp(`"backend":"${FIRST}:8080","flows":[1-9].*"msg":"backend gone`));
  // The answer to the next segment is a RST; the server itself would have gone on.
  expect((await upload.ended).stderr).toMatch(/reset/);
  await requestFrom(guest, SERVICE);
  expect(await backends()).toMatchObject([{ address: SECOND, state: "in use" }]);

  await dns.stop();
  await second.waitForLine(/"msg":"name not resolved"/);
  await requestFrom(guest, SERVICE);
  await second.stop("SIGKILL");
  const third = await start(upstream);
  expect(await backends()).toMatchObject([{ name: "web.example", address: SECOND, state: "in use" }]);
  await third.waitForLine(/"msg":"name not resolved"/);
  await requestFrom(guest, SERVICE);
  await third.stop();
  expect((await onlink(lab, "down", "--config", CONFIG_FILE)).stdout).toContain(
    "addresses of names in /var/lib/onlink/names.json",
  );
  expect(existsSync(`${lab.root}/var/lib/onlink`)).toBe(false);
});

const check = { interval: "200ms", timeout: "5s", unhealthyAfter: 2, healthyAfter: 1 };

test("a backend that fails its checks is out of use; with none left the guest is refused at once", async () => {
  const server = (address: string) => startHttpServer(fabric, { address, port: 8080 });
  const first = await server(FIRST);
  const second = await server(SECOND);
  const service = {
    backends: [`${FIRST}:8080`, `${SECOND}:8080`],
    healthCheck: { type: "tcp", ...check },
  };
  const killed = await start(service);
  expect((await backends()).map(({ state, health }) => ({ state, health: health?.state }))).toEqual([
    { state: "in use", health: "healthy" },
    { state: "in use", health: "healthy" },
  ]);

  await second.stop();
  await killed.waitForLine(new RegExp(`"backend":"${SECOND}:8080","reason":"unhealthy: connection refused"`));
  for (let count = 0; count < 10; count++) await requestFrom(guest, SERVICE);

  await killed.stop("SIGKILL");
  const agent = await start(service);
  for (let count = 0; count < 10; count++) await requestFrom(guest, SERVICE);
  expect((await backends())[1]).toMatchObject({ address: SECOND, health: { state: "unhealthy" } });

  await first.stop();
  await agent.waitForLine(new RegExp(`"backend":"${FIRST}:8080","reason":"unhealthy: connection refused"`));
  expect(await backends()).toMatchObject([
    { address: FIRST, state: "out of use", health: { state: "unhealthy", error: "connection refused" } },
    { address: SECOND, state: "out of use" },
  ]);
  expect((await guest.run([...CURL, SERVICE])).code).toBe(CURL_REFUSED);

  await server(SECOND);
  await waitFor("the second backend in use", async () => (await backends())[1]!.state === "in use");
  await requestFrom(guest, SERVICE);
});

test("a check over HTTP asks for its path and counts the status; the flows to an unhealthy backend end", async () => {
  // Answers every request to the end, and /health with what the file says.
  const server = `
    const { createServer } = require("node:http");
    const { readFileSync } = require("node:fs");
    createServer((request, response) => {
      if (request.url !== "/health?deep") request.resume().on("end", () => response.end());
      else response.writeHead(Number(readFileSync("/run/status"))).end();
    }).listen(8080, "127.0.0.1", () => console.log("ready"));`;
  // Renamed into place: the server must not read half of it.
  const status = async (code: number) => {
    await writeFile(`${lab.root}/run/status.new`, `${code}`);
    await rename(`${lab.root}/run/status.new`, `${lab.root}/run/status`);
  };
  await status(302);
  await (await lab.host.start([process.execPath, "-e", server])).waitForLine(/ready/);
  const agent = await start({
    backends: ["127.0.0.1:8080"],
    healthCheck: { type: "http", path: "/health?deep", ...check },
  });
  const upload = await startUpload();
  await status(503);
  await agent.waitForLine(/"reason":"unhealthy: HTTP status 503"/);
  expect((await upload.ended).stderr).toMatch(/reset/);
  expect((await guest.run([...CURL, SERVICE])).code).toBe(CURL_REFUSED);
  await status(200);
  await waitFor("the backend in use", async () => (await backends())[0]!.state === "in use");
  expect((await guest.run([...CURL, SERVICE])).code).toBe(0);
});
