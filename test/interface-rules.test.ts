/** What the configuration says of an interface, and of all of them, as the guest behind it finds out. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Guest, Lab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { GATEWAY_MAC } from "../src/packet/address.ts";
import { metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import { arping, output, requestFrom } from "./support/commands.ts";
import { openLabWithGuest } from "./support/guest.ts";

const SERVICE = "169.254.169.254";
/** An address of the guest that nobody was told of. */
const OTHER = "10.9.9.9";

let lab: Lab;
let guest: Guest;

beforeAll(async () => {
  ({ lab, guest } = await openLabWithGuest());
  await output(guest, ["ip", "address", "add", `${OTHER}/32`, "dev", "eth0"]);
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
});
afterAll(() => lab?.close());

const config = (rule: object, defaults: object) => ({
  services: [{ name: "web", address: SERVICE, port: 80, backends: ["127.0.0.1:8080"] }],
  interfaces: [{ name: guest.vif, addresses: ["10.0.1.3"], ...rule }],
  defaults,
});

/** The exit status of curl from the address that is not known: 0 when it got its answer, 28 when none came. */
async function requestFromOther(): Promise<number> {
  const argv = ["curl", "--silent", "--max-time", "1", "--interface", OTHER, `http://${SERVICE}/`];
  return (await guest.run(argv)).code ?? -1;
}

test("a rule that changed holds after a restart, and what the datapath knows of the guest stays", async () => {
  const strict = await startAgent(lab, config({}, {}));
  expect(await arping(guest, "10.0.1.1")).toBeUndefined();
  expect(await requestFromOther()).toBe(28);
  const { peer } = await requestFrom(guest, `http://${SERVICE}/`);
  const before = await statusOf(lab);
  expect(peer).toBe(metadataAddressIn(before, guest.vif));
  expect(Number(before.counters.spoofed.frames)).toBeGreaterThan(0);
  await strict.stop();

  const gateway = { address: "10.0.1.1", answerArp: true };
  const lenient = await startAgent(lab, config({ gateway }, { antiSpoof: false }));
  expect(await arping(guest, "10.0.1.1")).toBe(GATEWAY_MAC);
  expect(await requestFromOther()).toBe(0);
  const after = await statusOf(lab);
  expect(metadataAddressIn(after, guest.vif)).toBe(peer);
  expect(after.counters.spoofed).toEqual(before.counters.spoofed);
  expect(Number(after.counters["arp-gateway"].frames)).toBe(1);
  await lenient.stop();

  // The interface's own word counts more than the default.
  await startAgent(lab, config({ antiSpoof: true }, { antiSpoof: false }));
  expect(await arping(guest, "10.0.1.1")).toBeUndefined();
  expect(await requestFromOther()).toBe(28);
});
