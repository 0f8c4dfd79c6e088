/** Interfaces that come, go and change their names while the agent runs. */
import { existsSync, statSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Guest, type Lab, openLab } from "../src/lab/lab.ts";
import { startHttpServer } from "../src/lab/servers.ts";
import { waitFor } from "../src/lab/wait.ts";
import { interfaceIn, metadataAddressIn, startAgent, statusOf } from "./support/agent.ts";
import { output, requestFrom, shell } from "./support/commands.ts";
import { WEB } from "./support/guest.ts";
import { pinnedObjects } from "./support/traces.ts";

const URL = "http://169.254.169.254/";
const web = WEB;

let lab: Lab;
beforeEach(async () => {
  lab = await openLab();
  await startHttpServer(lab.host, { address: "127.0.0.1", port: 8080 });
});
afterEach(() => lab?.close());

function start(...interfaces: string[]) {
  return startAgent(lab, {
    services: [{ name: "web", address: "169.254.169.254", port: 80, backends: ["127.0.0.1:8080"] }],
    interfaces: interfaces.map((name) => ({ name })),
  });
}

/** The state of an interface; undefined where the status does not list it. */
async function stateOf(name: string): Promise<string | undefined> {
  return interfaceIn(await statusOf(lab), name)?.state;
}

function reaches(name: string, state: string | undefined): Promise<true> {
  return waitFor(`${name} to be ${state ?? "unknown"}`, async () => (await stateOf(name)) === state);
}

/** A guest that asks as soon as it is there: the agent has it as a vif by then or soon after. */
async function firstAnswer(guest: Guest) {
  // curl tries again when nobody answers ARP yet, which is "no route to host" in the end.
  const retry = ["--connect-timeout", "1", "--retry", "9", "--retry-all-errors", "--retry-delay", "0"];
  return requestFrom(guest, URL, ...retry);
}

test("a name that is not there waits, and works whenever it comes", async () => {
  await start("vif-web");
  expect(await stateOf("vif-web")).toBe("waiting");
  const { peer } = await firstAnswer(await lab.addGuest(web));
  expect(peer).toBe(metadataAddressIn(await statusOf(lab), "vif-web"));

  await output(lab.host, ["ip", "netns", "del", "web"]);
  await reaches("vif-web", "waiting");
  expect((await firstAnswer(await lab.addGuest({ ...web, gatewayOnHost: false }))).peer).toBe(peer);
});

test("one that comes works within moments; one that goes and comes again keeps its metadata address", async () => {
  await start("vif-*");
  const guest = await lab.addGuest(web);
  const { peer } = await firstAnswer(guest);
  await output(lab.host, ["ip", "netns", "del", "web"]);
  await reaches("vif-web", undefined);

  // An address that nobody keeps would be this one's now.
  const other = await lab.addGuest({ ...web, name: "other", address: "10.0.2.3/24", gateway: "10.0.2.1" });
  expect((await firstAnswer(other)).peer).not.toBe(peer);
  const again = await lab.addGuest({ ...web, gatewayOnHost: false });
  expect((await firstAnswer(again)).peer).toBe(peer);
  expect((await requestFrom(other, URL)).peer).not.toBe(peer);
});

test("a name that leaves the pattern is detached, one that enters it is attached", async () => {
  await start("vif-*");
  const guest = await lab.addGuest(web);
  await firstAnswer(guest);

  await output(lab.host, ["ip", "link", "set", "vif-web", "name", "plain0"]);
  await reaches("vif-web", undefined);
  expect(await stateOf("plain0")).toBeUndefined();
  const { code } = await guest.run(["arping", "-c1", "-w1", "-I", "eth0", "169.254.169.254"]);
  expect(code).toBe(1);

  await output(lab.host, ["ip", "link", "set", "plain0", "name", "vif-new"]);
  await reaches("vif-new", "attached");
  expect((await firstAnswer(guest)).peer).toBe(metadataAddressIn(await statusOf(lab), "vif-new"));
});

test("down and up again is no change", async () => {
  await start("vif-*");
  const guest = await lab.addGuest(web);
  const { peer } = await firstAnswer(guest);
  // Its flow ends with the vif, and another is opened by a SYN alone.
  const file = "/run/download";
  const download = await guest.start([
    "curl",
    "-sS",
    "--limit-rate",
    "1M",
    "-o",
    file,
    `${URL}bytes/1000000000`,
  ]);
  const size = () => (existsSync(lab.root + file) ? statSync(lab.root + file).size : 0);
  await waitFor("the download to begin", () => size() > 0);
  const before = await pinnedObjects(lab);
  expect(before.link).toHaveLength(2);

  await shell(lab.host, "ip link set vif-web down; ip link set vif-web up");
  const then = size();
  await waitFor("the download to go on", () => size() > then + 2_000_000);
  expect(await pinnedObjects(lab), "the same links").toEqual(before);
  expect((await firstAnswer(guest)).peer).toBe(peer);
  await download.stop();
});

test("a hundred at once, and away again", async () => {
  await start("vif-*");
  const guests = await lab.addGuests(
    Array.from({ length: 100 }, (_, index) => ({
      ...web,
      name: `g${index}`,
      behaviour: index % 2 === 0 ? "routed" : "on-link",
      gatewayOnHost: false,
    })),
  );
  const status = await waitFor("100 attached vifs", async () => {
    const now = await statusOf(lab);
    return now.interfaces.filter(({ state }) => state === "attached").length === 100 && now;
  });
  expect(new Set(guests.map(({ vif }) => metadataAddressIn(status, vif))).size).toBe(100);
  for (const guest of [guests[0]!, guests[57]!, guests[99]!]) {
    expect((await requestFrom(guest, URL)).peer).toBe(metadataAddressIn(status, guest.vif));
  }
  await output(lab.host, ["ip", "-batch", "-"], {
    input: guests.map(({ name }) => `netns del ${name}\n`).join(""),
  });
  await waitFor("the vifs to go", async () => (await statusOf(lab)).interfaces.length === 0);
});

test("renamed, moved away and back, deleted and made again, faster than the agent follows", async () => {
  await start("vif-*");
  await shell(lab.host, "ip netns add elsewhere; ip netns attach home $$");
  const rounds = Array.from({ length: 10 }, (_, n) => [
    // Made again with the same name, with another ifindex and with the same.
    `link add vif-a${n} type veth peer name a${n}`,
    `link del vif-a${n}`,
    `link add vif-a${n} index ${9000 + n} type veth peer name a${n}`,
    `link del vif-a${n}`,
    `link add vif-a${n} index ${9000 + n} type veth peer name a${n}`,
    // Renamed out of the pattern and back; the name goes to another.
    `link add vif-b${n} type veth peer name b${n}`,
    `link set vif-b${n} name plain${n}`,
    `link add vif-b${n} type veth peer name other${n}`,
    `link set plain${n} name vif-c${n}`,
    // Moved away, or away and back.
    `link add vif-d${n} type veth peer name d${n}`,
    `link set vif-d${n} netns elsewhere`,
    `link add vif-e${n} type veth peer name e${n}`,
    `link set vif-e${n} netns elsewhere`,
    `netns exec elsewhere ip link set vif-e${n} netns home`,
    // Gone for good.
    `link add vif-f${n} type veth peer name f${n}`,
    `link del vif-f${n}`,
  ]);
  const { length } = rounds;
  await output(lab.host, ["ip", "-batch", "-"], { input: `${rounds.flat().join("\n")}\n` });
  const wanted = ["a", "b", "c", "e"].flatMap((letter) => rounds.map((_, n) => `vif-${letter}${n}`)).sort();
  await waitFor("the vifs that are there", async () => {
    const { interfaces } = await statusOf(lab);
    const attached = interfaces.flatMap(({ name, state }) => (state === "attached" ? [name] : []));
    return attached.sort().join() === wanted.join() && interfaces.length === wanted.length;
  });
  const { link } = await pinnedObjects(lab);
  expect(link, "theirs and the host device's").toHaveLength(4 * length + 1);
});
