import { expect, it } from "vitest";
import type { StatusBody } from "../api/status.ts";
import { formatStatus } from "./status.ts";

const body = {
  version: "1.2.3",
  pid: 42,
  since: "2026-01-02T03:04:05.000Z",
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
  counters: {
    forwarded: { frames: 7, bytes: "9007199254740993" },
    limit: { frames: 0, bytes: 0 },
    returned: { frames: "9007199254740993", bytes: 1 },
  },
  eventsLost: 12,
} as unknown as StatusBody;

it("shows the status in aligned tables, counters without zeros", () => {
  expect(formatStatus(body)).toBe(`\
agent 1.2.3, pid 42, since 2026-01-02T03:04:05.000Z
configuration /etc/onlink/onlink.yaml, taken over 2026-01-02T03:04:06.000Z
device onlink0 169.254.64.1, programs attached by tcx
flows 3 of at most 16384, 1024 per interface
events lost: 12

SERVICE  ADDRESS          PORT  PROTOCOL  BACKEND                     STATE
dns      169.254.169.253  53    udp,tcp   192.0.2.1:53                in use, fabric by eth0 from 192.0.2.9
                                          127.0.0.1:53                in use, host-local
                                          198.51.100.1:53             out of use: no route to it
                                          ns1.example:53 (127.0.0.2)  in use, host-local; last check failed: connection refused
                                          ns2.example:53              out of use: not looked up yet

REMOVED SERVICE  PORT  PROTOCOL  FLOWS END
169.254.169.123  123   udp       2026-01-02T03:05:05.000Z

INTERFACE  STATE                       METADATA ADDRESS  FLOWS
tap0       attached                    169.254.64.2      3
tap1       failed: it is not Ethernet  -                 -
veth-web   waiting                     -                 -

FABRIC  STATE
eth0    attached
eth7    waiting

FRAMES            BYTES             VERDICT
7                 9007199254740993  forwarded
9007199254740993  1                 returned
`);
});

it("says so when there is nothing to count, and leaves out what there is none of", () => {
  const text = formatStatus({
    ...body,
    draining: [],
    fabric: [],
    counters: {} as StatusBody["counters"],
    eventsLost: 0,
  });
  expect(text).toContain("no frames counted yet\n");
  expect(text).not.toContain("FABRIC");
  expect(text).not.toContain("REMOVED");
  expect(text).not.toContain("lost");
});

it("says what is wrong with the file that the agent could not take over", () => {
  const errors = ["onlink.yaml:3:5: services[0].port: 0 is not a port", "onlink.yaml:4:1: another"];
  const text = formatStatus({ ...body, configuration: { ...body.configuration, errors } });
  expect(text).toContain(`
what the file says now is refused, the configuration before it holds:
  onlink.yaml:3:5: services[0].port: 0 is not a port
  onlink.yaml:4:1: another
device `);
});
