import { describe, expect, test } from "vitest";
import type { ServiceState } from "./status.ts";
import { diagnose, firstBroken, type WhyFacts, type WhyLink } from "./why.ts";

const ADDRESS = "169.254.169.254";
const GATEWAY_MAC = "00:00:5e:00:01:00";

const SERVICE: ServiceState = {
  name: "web",
  address: ADDRESS,
  port: 80,
  protocols: ["tcp"],
  backends: [{ address: "127.0.0.1", port: 8080, state: "in use", kind: "host-local" }],
};

/** A guest that is served. */
const WELL: WhyFacts = {
  to: { address: ADDRESS, port: 80 },
  vif: { name: "vif-web", state: "attached", metadataAddress: "169.254.64.2", present: true, up: true },
  addresses: ["10.0.1.3"],
  antiSpoof: true,
  services: [SERVICE],
  seen: {
    arpAsked: { address: ADDRESS, age: 5 },
    arpAnswered: { address: ADDRESS, age: 5 },
    sent: { service: ADDRESS, toMac: GATEWAY_MAC, age: 4 },
    forwarded: { age: 4 },
    returned: { age: 4 },
  },
  hostMacs: new Set([GATEWAY_MAC, "02:00:00:00:00:01"]),
  flows: { vif: 1, vifLimit: 1024, system: 1, systemLimit: 16_384 },
};

const NOTHING_SEEN: WhyFacts = { ...WELL, seen: {} };

/** The MAC of a machine that is neither the guest nor this host. */
const STRANGER = "02:bb:00:00:00:09";

function brokenLink(facts: WhyFacts): Omit<WhyLink, "state"> {
  const link = firstBroken(diagnose(facts));
  if (link === undefined) throw new Error(`nothing is broken: ${JSON.stringify(diagnose(facts))}`);
  const { state: _, ...rest } = link;
  return rest;
}

test("where all is well, no link is broken, and each says what it goes by and when that was", () => {
  expect(diagnose(WELL)).toEqual([
    { link: "vif", state: "ok", says: "vif-web is attached, metadata address 169.254.64.2" },
    { link: "service", state: "ok", says: "169.254.169.254 has web (tcp 80)" },
    { link: "arp", state: "ok", says: "asked and answered", age: 5 },
    { link: "limit", state: "ok", says: "1 of at most 1024 flows; on the system 1 of 16384" },
    { link: "packets", state: "ok", says: "the guest sends to services", age: 4 },
    { link: "backend", state: "ok", says: "127.0.0.1:8080 in use" },
    { link: "answer", state: "ok", says: "backends answer", age: 4 },
  ]);
});

test("a routed guest asks for its gateway, not for the service", () => {
  const { arpAsked: _, arpAnswered: __, ...seen } = WELL.seen;
  const sent = { service: ADDRESS, toMac: "02:00:00:00:00:01", age: 4 };
  const links = diagnose({ ...WELL, seen: { ...seen, sent } });
  expect(firstBroken(links)).toBeUndefined();
  expect(links.find(({ link }) => link === "arp")?.says).toMatch(/as a routed guest does/);
});

test.each<[string, Partial<WhyFacts>]>([
  ["is sent to", { seen: { ...WELL.seen, sent: { service: ADDRESS, toMac: STRANGER, age: 4 } } }],
  ["claims the address", { conflict: { interface: "vif-blue", mac: STRANGER, age: 9 } }],
])("a stranger that %s is told of, and breaks nothing while the guest is served", (_, facts) => {
  const links = diagnose({ ...WELL, ...facts });
  expect(firstBroken(links)).toBeUndefined();
  expect(links.find(({ link }) => link === "arp")?.says).toMatch(
    /02:bb:00:00:00:09.*; the guest is served all the same/,
  );
});

describe("the first broken link is named", () => {
  const attached = { ...WELL.vif } as Extract<WhyFacts["vif"], { state: "attached" }>;
  test.each<[string, Partial<WhyFacts>, WhyLink["link"], RegExp]>([
    [
      "no entry fits the interface",
      { vif: { name: "tap7", state: "not configured" } },
      "vif",
      /no entry of `interfaces` fits/,
    ],
    [
      "the interface is not there",
      { vif: { name: "tap7", state: "waiting" } },
      "vif",
      /there is no interface tap7/,
    ],
    [
      "attaching failed",
      { vif: { name: "tap7", state: "failed", reason: "it is not Ethernet" } },
      "vif",
      /it is not Ethernet/,
    ],
    ["it is disabled", { vif: { name: "tap7", state: "disabled" } }, "vif", /disabled/],
    ["it leads to the fabric", { vif: { name: "eth0", state: "fabric" } }, "vif", /fabric backends/],
    [
      "the program was taken off",
      { vif: { ...attached, present: false } },
      "vif",
      /taken onlink's program off/,
    ],
    [
      "no service on that port",
      { to: { address: ADDRESS, port: 8080 } },
      "service",
      /no service on port 8080; it has web \(tcp 80\)/,
    ],
    [
      "no service at the address",
      { to: { address: "169.254.1.1" } },
      "service",
      /there are 169\.254\.169\.254/,
    ],
    ["vif down", { vif: { ...attached, up: false } }, "vif", /vif-web is down/],
    ["the guest never asked", { seen: {} }, "arp", /never asked for 169\.254\.169\.254/],
    [
      "asked when there was no service",
      { seen: { arpAsked: { address: ADDRESS, age: 9 } } },
      "arp",
      /not answered/,
    ],
    [
      "somebody else answered: the guest sends to a stranger",
      { seen: { ...WELL.seen, sent: { service: ADDRESS, toMac: STRANGER, age: 3 } } },
      "arp",
      /sends to 02:bb:00:00:00:09, which is neither the gateway MAC/,
    ],
    [
      "somebody else claims the address",
      { conflict: { interface: "vif-blue", mac: STRANGER, age: 3 } },
      "arp",
      /02:bb:00:00:00:09 on vif-blue claims/,
    ],
    [
      "spoofed source",
      { seen: { ...WELL.seen, spoofed: { address: "10.9.9.9", age: 1 } } },
      "source",
      /10\.9\.9\.9 .* its addresses are 10\.0\.1\.3/,
    ],
    ["over its limit", { seen: { ...WELL.seen, limit: { age: 2 } } }, "limit", /a new flow was refused/],
    ["at its limit", { flows: { ...WELL.flows, vif: 1024 } }, "limit", /1024 of at most 1024/],
    [
      "answered, and nothing sent since",
      { seen: { arpAnswered: { address: ADDRESS, age: 60 } } },
      "packets",
      /has sent nothing since/,
    ],
    [
      "no port towards the fabric",
      { seen: { ...WELL.seen, noPort: { age: 1 } } },
      "packets",
      /no source port/,
    ],
    [
      "no backend",
      {
        services: [
          {
            ...SERVICE,
            backends: [
              { address: "127.0.0.1", port: 8080, state: "out of use", reason: "connection refused" },
            ],
          },
        ],
      },
      "backend",
      /web has no backend: 127\.0\.0\.1:8080 out of use: connection refused/,
    ],
    [
      "no answer ever",
      { seen: { ...WELL.seen, forwarded: { age: 9 }, returned: undefined } },
      "answer",
      /none ever came back/,
    ],
    [
      "no answer since",
      { seen: { ...WELL.seen, forwarded: { age: 9 }, returned: { age: 40 } } },
      "answer",
      /has come back since/,
    ],
    [
      "no identity",
      { metadata: { status: 404, age: 2, identified: false } },
      "metadata",
      /does not know who this guest is/,
    ],
    [
      "the upstream answers 5xx",
      { metadata: { status: 502, age: 2, identified: true } },
      "metadata",
      /was 502/,
    ],
    [
      "without a token",
      { metadata: { status: 401, age: 2, identified: true } },
      "metadata",
      /without a token/,
    ],
    ["too many requests", { metadata: { status: 429, age: 2, identified: true } }, "metadata", /too many/],
  ])("%s", (_title, changes, link, says) => {
    const found = brokenLink({ ...WELL, ...changes });
    expect(found).toMatchObject({ link, says: expect.stringMatching(says) });
    expect(found.mend).toMatch(/\w/);
  });
});

describe("what is over is not the cause", () => {
  test.each<[string, Partial<WhyFacts>]>([
    [
      "spoofed, but since then a packet went through",
      { seen: { ...WELL.seen, spoofed: { address: "10.9.9.9", age: 30 } } },
    ],
    [
      "spoofed, and anti-spoofing is off now",
      { antiSpoof: false, seen: { ...WELL.seen, spoofed: { address: "10.9.9.9", age: 1 } } },
    ],
    ["over the limit long ago", { seen: { ...WELL.seen, limit: { age: 3600 } } }],
    ["a claim of long ago", { conflict: { interface: "vif-blue", mac: "02:bb:00:00:00:09", age: 3600 } }],
    [
      "a path that the metadata service does not have",
      { metadata: { status: 404, age: 2, identified: true } },
    ],
  ])("%s", (_title, changes) => {
    expect(firstBroken(diagnose({ ...WELL, ...changes }))).toBeUndefined();
  });
});

test("an answer is not missed at once", () => {
  const links = diagnose({ ...WELL, seen: { ...WELL.seen, forwarded: { age: 1 }, returned: undefined } });
  expect(links.find(({ link }) => link === "answer")?.state).toBe("unknown");
});

test("of a guest that is not attached, nothing is said that could only be seen there", () => {
  const links = diagnose({ ...NOTHING_SEEN, vif: { name: "tap7", state: "waiting" } });
  expect(links.map(({ link }) => link)).toEqual(["vif", "service", "backend"]);
});
