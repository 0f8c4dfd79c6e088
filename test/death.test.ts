/** Agents that are killed, and agents of another version, while guests ask: nobody may notice. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Adoption } from "../src/datapath/types.ts";
import type { RequestCount } from "../src/lab/http-client.ts";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import type { LabProcess } from "../src/lab/process.ts";
import { startHttpClient, startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { CONFIG_FILE, ONLINK, onlink, writeConfig } from "./support/agent.ts";
import { startDownload } from "./support/download.ts";
import { WEB } from "./support/guest.ts";
import { buildOtherVersion, type OtherVersion } from "./support/other-version.ts";
import { hostState, pinnedObjects, stillThere } from "./support/traces.ts";

const LOCAL = "http://169.254.169.254";
const FABRIC = "http://169.254.169.253";
const REQUESTS = 20_000;
const CONFIG = {
  services: [
    { name: "local", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] },
    { name: "fabric", address: "169.254.169.253", port: 80, backends: ["192.0.2.10:8080"] },
  ],
  interfaces: [{ name: "vif-*" }],
  // A flow stays for 10 s after its connection is closed.
  limits: { flowsPerInterface: 16_384 },
};

let other: OtherVersion;
let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  other = buildOtherVersion();
  lab = await openLab();
  const fabric = await lab.addFabric({
    name: "fab0",
    hostAddress: "192.0.2.1/24",
    address: "192.0.2.10/24",
  });
  guest = await lab.addGuest(WEB);
  await lab.host.run(["/bin/sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"]);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
  await startHttpServer(fabric, { address: "192.0.2.10", port: 8080 });
  await writeConfig(lab, CONFIG);
});
afterAll(async () => {
  await lab?.close();
  other?.[Symbol.dispose]();
});

async function start(command: string): Promise<LabProcess> {
  const agent = await lab.host.start([process.execPath, command, "run", "--config", CONFIG_FILE]);
  await agent.waitForLine(/"msg":"ready"/);
  return agent;
}

/** What an agent says of the maps that it found. */
async function adoptionOf(agent: LabProcess): Promise<Adoption> {
  return JSON.parse(await agent.waitForLine(/"msg":"datapath of .* adopted/));
}

test(`not one of ${REQUESTS} requests fails while agents die and versions change; down leaves nothing`, async () => {
  const before = await hostState(lab);
  let agent = await start(ONLINK);
  const downloads = await Promise.all([LOCAL, FABRIC].map((url) => startDownload(lab, guest, url)));
  const client = await startHttpClient(guest, REQUESTS, [LOCAL, FABRIC]);
  const asked = (count: number) => client.waitForLine(new RegExp(`^asked ${count}$`));

  await asked(2_000);
  await agent.stop("SIGKILL");
  await asked(5_000);
  agent = await start(ONLINK);
  expect(await adoptionOf(agent)).toMatchObject({ carried: [], replaced: [], flows: 0 });

  await asked(8_000);
  await agent.stop("SIGKILL");
  const objects = await pinnedObjects(lab);
  agent = await start(other.onlink);
  const upgrade = await adoptionOf(agent);
  expect(upgrade.carried).toEqual(
    expect.arrayContaining(["backends", "counters", "flows", "services", "settings", "vif_states", "vifs"]),
  );
  expect(upgrade.replaced).toEqual(["events", "fragments", "scratch"]);
  expect(upgrade.flows).toBeGreaterThan(0);

  await asked(13_000);
  await agent.stop();
  agent = await start(ONLINK);
  expect((await adoptionOf(agent)).flows).toBeGreaterThan(0);

  expect((await client.ended).code).toBe(0);
  const count: RequestCount = JSON.parse(client.stdout().trim().split("\n").at(-1)!);
  expect(count).toEqual({ good: REQUESTS, failures: [] });
  for (const download of downloads) {
    const size = download.size();
    await waitFor("the download to go on", () => download.size() > size);
    await download.finish();
  }
  await lab.host.run(["rm", "/run/169.254.169.253", "/run/169.254.169.254"]);

  const left = await stillThere(lab, objects);
  expect(left.prog).toEqual([]);
  expect(left.map, "none but those that both versions share").toHaveLength(upgrade.kept.length);
  await agent.stop();
  expect((await onlink(lab, "down", "--config", CONFIG_FILE)).code).toBe(0);
  expect(await hostState(lab)).toEqual(before);
});
