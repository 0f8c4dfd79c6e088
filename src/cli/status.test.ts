import { expect, it } from "vitest";
import { fakeCounters } from "../api/fakes.ts";
import { inJson } from "../api/json.ts";
import type { StatusBody } from "../api/status.ts";
import { COLOURED, PLAIN } from "./paint.ts";
import { formatStatus } from "./status.ts";

const body = {
  version: "1.2.3",
  pid: 42,
  since: "2026-01-02T03:04:05.000Z",
  problems: [],
  configuration: { file: "/etc/onlink/onlink.yaml", loaded: "2026-01-02T03:04:06.000Z" },
  attach: "tcx",
  device: { name: "onlink0", address: "169.254.64.1" },
  services: [
    {
      name: "dns",
      address: "169.254.169.253",
      port: 53,
      protocols: ["udp", "tcp"],
      backends: [
        {
          address: "192.0.2.1",
          port: 53,
          state: "in use",
          kind: "fabric",
          interface: "eth0",
          source: "192.0.2.9",
        },
        { address: "127.0.0.1", port: 53, state: "in use", kind: "host-local" },
        { address: "198.51.100.1", port: 53, state: "out of use", reason: "no route to it" },
        {
          name: "ns1.example",
          address: "127.0.0.2",
          port: 53,
          state: "in use",
          kind: "host-local",
          health: { state: "healthy", since: "2026-01-02T03:04:05.000Z", error: "connection refused" },
        },
        { name: "ns2.example", port: 53, state: "out of use", reason: "not looked up yet" },
      ],
      traffic: { flows: "4", refused: "0", framesOut: "8", bytesOut: "512", framesIn: "8", bytesIn: "2048" },
    },
  ],
  draining: [{ address: "169.254.169.123", port: 123, protocol: "udp", ends: "2026-01-02T03:05:05.000Z" }],
  interfaces: [
    { name: "tap0", state: "attached", ifindex: 5, metadataAddress: "169.254.64.2", flows: 3 },
    { name: "tap1", state: "failed", ifindex: 6, reason: "it is not Ethernet" },
    { name: "veth-web", state: "waiting" },
  ],
  fabric: [
    { name: "eth0", state: "attached", ifindex: 2 },
    { name: "eth7", state: "waiting" },
  ],
  flows: { now: 3, limit: 16384, limitPerInterface: 1024 },
  counters: inJson(
    fakeCounters({
      forwarded: { frames: 7n, bytes: 9007199254740993n },
      returned: { frames: 9007199254740993n, bytes: 1n },
    }),
  ),
  eventsLost: 12,
} as unknown as StatusBody;

/** The 3 h 4 min after its start. */
const now = Date.UTC(2026, 0, 2, 6, 8, 5);
const format = (changes: Partial<StatusBody> = {}) => formatStatus({ ...body, ...changes }, PLAIN, now);

it("says first whether all is well, then what there is", () => {
  expect(format()).toBe(`\
ok: all that is configured is in step

agent          1.2.3, pid 42, started 3h4m ago
configuration  /etc/onlink/onlink.yaml, taken over 3h3m ago
device         onlink0 169.254.64.1, programs attached by tcx
services       1, with 3 of 5 backends in use
interfaces     1 attached, 1 failed, 1 waiting
flows          3 of at most 16384, 1024 per interface
events lost    12

SERVICE  ADDRESS          PORT  PROTOCOL  FLOWS    OUT       IN  BACKEND                     STATE
dns      169.254.169.253  53    udp,tcp       4  512 B  2.0 KiB  192.0.2.1:53                in use, fabric by eth0 from 192.0.2.9
                                                                 127.0.0.1:53                in use, host-local
                                                                 198.51.100.1:53             out of use: no route to it
                                                                 ns1.example:53 (127.0.0.2)  in use, host-local; last check failed: connection refused
                                                                 ns2.example:53              out of use: not looked up yet

REMOVED SERVICE  PORT  PROTOCOL  FLOWS END
169.254.169.123  123   udp       2026-01-02T03:05:05.000Z

INTERFACE  STATE                       METADATA ADDRESS  FLOWS  OUT  IN  DROPPED
tap0       attached                    169.254.64.2          3    -   -        -
tap1       failed: it is not Ethernet  -                     -    -   -        -
veth-web   waiting                     -                     -    -   -        -

FABRIC  STATE
eth0    attached
eth7    waiting

FRAMES    BYTES  VERDICT
     7  8.0 PiB  forwarded
 9.0 P      1 B  returned
`);
});

it("says what is not well, and where to look for the rest", () => {
  const problems = Array.from({ length: 12 }, (_, index) => `interface tap${index}: broken`);
  const text = format({ problems });
  expect(text).toMatch(
    /^not ok: not all that is configured is in step\n {2}interface tap0: broken\n(?: {2}.*\n){9}\.\.\. and 2 more: onlink status --json\n\nagent /,
  );
  expect(formatStatus({ ...body, problems }, COLOURED, now)).toContain("\u001b[31mnot ok\u001b[39m: ");
});

it("shows what is in trouble first where there is more than fits", () => {
  const [dns] = body.services;
  const [vif, failed] = body.interfaces;
  const text = format({
    services: [
      ...Array.from({ length: 25 }, (_, index) => ({
        ...dns!,
        name: `s${index}`,
        backends: [dns!.backends[1]!],
      })),
      { ...dns!, name: "in-trouble" },
    ],
    interfaces: [...Array.from({ length: 30 }, (_, index) => ({ ...vif!, name: `v${index}` })), failed!],
  });
  expect(text).toMatch(/^SERVICE .*\nin-trouble /m);
  expect(text).toContain("... and 6 more: onlink services\n");
  expect(text).toMatch(/^INTERFACE .*\ntap1 +failed/m);
  expect(text).toContain("... and 11 more: onlink interfaces\n");
});

it("says so when there is nothing to count, and leaves out what there is none of", () => {
  const text = format({
    draining: [],
    fabric: [],
    counters: {} as StatusBody["counters"],
    eventsLost: 0,
    interfaces: [],
  });
  expect(text).toContain("no frames counted yet\n");
  expect(text).toContain("interfaces     none\n");
  expect(text).not.toContain("FABRIC");
  expect(text).not.toContain("REMOVED");
  expect(text).not.toContain("lost");
});
