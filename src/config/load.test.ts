import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { formatConfigError, loadConfig, parseConfig } from "./load.ts";

const file = "onlink.yaml";

/** A right file; each bad one below differs from it in one place. */
const right = `\
services:
  - name: metadata
    address: 169.254.169.254
    port: 80
    backends: ["127.0.0.1:8080"]
  - name: dns
    address: 169.254.169.253
    port: 53
    protocol: [udp, tcp]
    backends: ["10.0.0.2:53", "10.0.0.3:53"]
interfaces:
  - name: "tap*"
  - name: veth-web
    instanceId: 6F3A0A3E-3b1c-4f0e-9a53-1f3a6a1d2c11
    addresses: [10.0.1.3]
    mac: 02:00:0A:00:01:03
limits: { flows: 100 }
fabric:
  ports: [61000, 61999]
agent:
  device: onlink1
  metadataAddresses: 169.254.64.0/18
  runtimeDir: /run/onlink1
`;

function errorsOf(text: string): string[] {
  const result = parseConfig(text, file);
  return result.ok ? [] : result.errors.map(formatConfigError);
}

function replaced(from: string, to: string): string {
  expect(right.split(from), `"${from}" stands once in the right file`).toHaveLength(2);
  return right.replace(from, () => to);
}

describe("a right file", () => {
  test("can have backends by name, and health checks with their own defaults", () => {
    const text = right
      .replace('"10.0.0.3:53"', '"NS1.fabric.example:53"')
      .replace(
        "protocol: [udp, tcp]",
        "protocol: udp\n    healthCheck: { type: http, port: 8053, interval: 1m }",
      );
    const result = parseConfig(text, file);
    expect(result.ok && result.config.services[1]).toMatchObject({
      backends: [
        { address: "10.0.0.2", port: 53 },
        { name: "ns1.fabric.example", port: 53 },
      ],
      healthCheck: {
        type: "http",
        port: 8053,
        interval: 60_000,
        timeout: 2000,
        unhealthyAfter: 3,
        healthyAfter: 2,
      },
    });
  });

  test("is normalised, with every default filled in", () => {
    expect(parseConfig(right, file)).toEqual({
      ok: true,
      config: {
        services: [
          {
            name: "metadata",
            address: "169.254.169.254",
            port: 80,
            kind: "nat",
            protocol: ["tcp"],
            backends: [{ address: "127.0.0.1", port: 8080 }],
            responseHopLimit: 64,
            whenNoBackend: "reject",
            drain: 30_000,
            allowAnyAddress: false,
          },
          {
            name: "dns",
            address: "169.254.169.253",
            port: 53,
            kind: "nat",
            protocol: ["udp", "tcp"],
            backends: [
              { address: "10.0.0.2", port: 53 },
              { address: "10.0.0.3", port: 53 },
            ],
            responseHopLimit: 64,
            whenNoBackend: "reject",
            drain: 30_000,
            allowAnyAddress: false,
          },
        ],
        interfaces: [
          { name: "tap*" },
          {
            name: "veth-web",
            instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
            addresses: ["10.0.1.3"],
            mac: "02:00:0a:00:01:03",
          },
        ],
        defaults: { antiSpoof: true, unknownPort: "reject", arpReply: "unicast" },
        limits: { flows: 100, flowsPerInterface: 1024 },
        fabric: { interfaces: "auto", sourceAddress: "auto", ports: [61000, 61999] },
        agent: {
          device: "onlink1",
          metadataAddresses: "169.254.64.0/18",
          stateDir: "/var/lib/onlink",
          runtimeDir: "/run/onlink1",
          attach: "auto",
        },
        metadata: {
          mode: "builtin",
          port: 9697,
          requireToken: false,
          builtin: {},
          limits: {
            connections: 4096,
            connectionsPerGuest: 64,
            requestsInFlight: 16,
            requestsPerSecond: 200,
            bodyBytes: 1_048_576,
          },
        },
        api: { socket: "/run/onlink1/onlink.sock" },
      },
    });
  });

  test("may be services and interfaces alone, and JSON", () => {
    const least = {
      services: [{ name: "a", address: "169.254.169.254", port: 80, backends: ["10.0.0.1:80"] }],
      interfaces: [{ name: "tap0" }],
    };
    const result = parseConfig(JSON.stringify(least, null, "\t"), "onlink.json");
    expect(result).toMatchObject({
      ok: true,
      config: {
        limits: { flows: 16384, flowsPerInterface: 1024 },
        fabric: { interfaces: "auto", sourceAddress: "auto", ports: [61000, 65535] },
        agent: { device: "onlink0", metadataAddresses: "169.254.64.0/18", runtimeDir: "/run/onlink" },
        api: { socket: "/run/onlink/onlink.sock" },
      },
    });
  });

  test("means the same as JSON and as YAML", () => {
    const text = JSON.stringify(parse(right));
    expect(parseConfig(text, file)).toEqual(parseConfig(right, file));
    expect(parseConfig(text, file).ok).toBe(true);
  });

  test("may say for each interface, pattern or not, what else it is to have", () => {
    const text = right
      .replace(
        '- name: "tap*"\n',
        '- name: "tap*"\n    antiSpoof: false\n    gateway: { address: 10.0.0.1, answerArp: false }\n',
      )
      .replace("addresses: [", "gateway: { address: 10.0.1.1, answerArp: true }\n    addresses: [")
      .replace("port: 80\n", "port: 80\n    whenNoBackend: pass\n")
      .replace("limits:", "defaults: { antiSpoof: false, unknownPort: drop, arpReply: broadcast }\nlimits:");
    expect(parseConfig(text, file)).toMatchObject({
      ok: true,
      config: {
        services: [{ whenNoBackend: "pass" }, { whenNoBackend: "reject" }],
        interfaces: [
          { name: "tap*", antiSpoof: false, gateway: { address: "10.0.0.1", answerArp: false } },
          { name: "veth-web", gateway: { address: "10.0.1.1", answerArp: true } },
        ],
        defaults: { antiSpoof: false, unknownPort: "drop", arpReply: "broadcast" },
      },
    });
  });

  test.each([
    [
      "an address elsewhere when so said",
      "port: 80\n",
      "port: 80\n    allowAnyAddress: true\n",
      "169.254.169.254",
      "100.100.100.200",
    ],
    ["the first usable address", "169.254.169.254", "169.254.1.0"],
    ["the last usable address", "169.254.169.254", "169.254.254.255"],
    ["the same address on another port", "169.254.169.253", "169.254.169.254"],
    ["the smallest pool", "169.254.64.0/18", "169.254.64.16/28"],
    ["another pool", "169.254.64.0/18", "169.254.1.0/24"],
    ["the longest device name", "onlink1\n  meta", "onlink12345678\n  meta"],
    ["named fabric interfaces", "  ports:", "  interfaces: [eth0, eth1]\n  ports:"],
    ["an alias", '["127.0.0.1:8080"]', '&b ["10.0.0.9:80"]', '["10.0.0.2:53", "10.0.0.3:53"]', "*b"],
  ])("may have %s", (_, ...pairs) => {
    let text = right;
    for (let index = 0; index < pairs.length; index += 2)
      text = text.replace(pairs[index]!, pairs[index + 1]!);
    expect(text).not.toBe(right);
    expect(errorsOf(text)).toEqual([]);
  });

  test("may give in full what is the default, as the sections of the example do", () => {
    const example = readFileSync(new URL("../../docs/onlink.example.yaml", import.meta.url), "utf8");
    const short = example.slice(0, example.indexOf("\ndefaults:"));
    expect(short).not.toContain("onlink0");
    expect(parseConfig(example, file)).toEqual(parseConfig(short, file));
    expect(errorsOf(example)).toEqual([]);
  });
});

describe("a file that is wrong in one place", () => {
  test.each<[from: string, to: string, ...errors: string[]]>([
    [
      "port: 80\n",
      "port: 70000\n",
      "onlink.yaml:4:11: services[0].port: 70000 is not a port; expected 1-65535",
    ],
    ["port: 80\n", "port: 0\n", "onlink.yaml:4:11: services[0].port: 0 is not a port; expected 1-65535"],
    [
      "port: 80\n",
      "port: 80.5\n",
      "onlink.yaml:4:11: services[0].port: 80.5 is not a port; expected 1-65535",
    ],
    [
      "port: 80\n",
      "port: '80'\n",
      'onlink.yaml:4:11: services[0].port: "80" is not a port; expected 1-65535',
    ],
    ["port: 80\n", "port:\n", "onlink.yaml:4:10: services[0].port: empty; expected a port, 1-65535"],
    ["    port: 80\n", "", "onlink.yaml:2:5: services[0].port: missing; expected a port, 1-65535"],
    [
      "    port: 80\n",
      "    port: 80\n    prot: udp\n",
      'onlink.yaml:5:5: services[0].prot: unknown field "prot"; did you mean "protocol"? known here: name, address, port, kind, protocol, backends, healthCheck, responseHopLimit, whenNoBackend, drain, allowAnyAddress',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    colour: red\n",
      'onlink.yaml:5:5: services[0].colour: unknown field "colour"; known here: name, address, port, kind, protocol, backends, healthCheck, responseHopLimit, whenNoBackend, drain, allowAnyAddress',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    kind: metadata\n",
      "onlink.yaml:6:15: services[0].backends: a service of kind metadata is served by the agent itself; expected none, or kind: nat for a server of your own",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    responseHopLimit: 65\n",
      "onlink.yaml:5:23: services[0].responseHopLimit: 65 is not a hop limit; expected 1-64",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    allowAnyAddress: yes\n",
      'onlink.yaml:5:22: services[0].allowAnyAddress: "yes" is not a switch; expected true or false',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    whenNoBackend: refuse\n",
      'onlink.yaml:5:20: services[0].whenNoBackend: "refuse" is not a way to treat frames; expected reject, drop or pass',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    drain: 30\n",
      "onlink.yaml:5:12: services[0].drain: 30 is not a duration; expected 0s-24h, written like 500ms, 5s or 1m",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    drain: 25h\n",
      'onlink.yaml:5:12: services[0].drain: "25h" is not a duration; expected 0s-24h, written like 500ms, 5s or 1m',
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    antiSpoof: 1\n",
      "onlink.yaml:15:16: interfaces[1].antiSpoof: 1 is not a switch; expected true or false",
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    gateway: { address: 10.0.1.1 }\n",
      "onlink.yaml:15:14: interfaces[1].gateway.answerArp: missing; expected a switch, true or false",
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    gateway: { address: 169.254.169.254, answerArp: true }\n",
      "onlink.yaml:15:25: interfaces[1].gateway.address: 169.254.169.254 is the service address of services[0] (line 2); expected the guest's gateway",
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    addresses: [10.0.1.3]\n    gateway: { address: 10.0.1.3, answerArp: true }\n",
      "onlink.yaml:16:25: interfaces[1].gateway.address: 10.0.1.3 is one of the guest's own addresses; expected the guest's gateway",
    ],
    [
      "limits: {",
      "defaults: { unknownPort: pass }\nlimits: {",
      'onlink.yaml:17:26: defaults.unknownPort: "pass" is not a way to treat frames; expected reject or drop',
    ],
    [
      "limits: {",
      "defaults: { arpReply: multicast }\nlimits: {",
      'onlink.yaml:17:23: defaults.arpReply: "multicast" is not a way to reply; expected unicast or broadcast',
    ],
    [
      "limits: {",
      "defaults: { responseHopLimit: 1 }\nlimits: {",
      'onlink.yaml:17:13: defaults.responseHopLimit: unknown field "responseHopLimit"; known here: antiSpoof, unknownPort, arpReply',
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    arpReply: anycast\n",
      'onlink.yaml:15:15: interfaces[1].arpReply: "anycast" is not a way to reply; expected unicast or broadcast',
    ],
    [
      "    addresses: [10.0.1.3]\n",
      "    unknownPort: pass\n",
      'onlink.yaml:15:18: interfaces[1].unknownPort: "pass" is not a way to treat frames; expected reject or drop',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    port: 81\n",
      "onlink.yaml:5:5: port is given twice; expected it once",
    ],
    [
      "limits: {",
      "metadata: { mode: proxy }\nlimits: {",
      "onlink.yaml:17:11: metadata.proxy: missing; mode proxy expects proxy: { upstream: ... }",
    ],
    [
      "limits: {",
      "api: { listen: 0.0.0.0:9091 }\nlimits: {",
      'onlink.yaml:17:16: api.listen: "0.0.0.0:9091" is not a loopback address and port; expected one like 127.0.0.1:9091',
    ],
    [
      "limits: {",
      "api: { listen: 127.0.0.1:90910 }\nlimits: {",
      'onlink.yaml:17:16: api.listen: "127.0.0.1:90910" is not a loopback address and port; expected one like 127.0.0.1:9091',
    ],
    [
      "limits: {",
      '"a\\n b": 1\nlimits: {',
      'onlink.yaml:17:1: "a\\n b": unknown field "a\\n b"; known here: services, interfaces, defaults, limits, fabric, agent, metadata, api',
    ],
    [
      "limits: {",
      "limit: {",
      'onlink.yaml:17:1: limit: unknown field "limit"; did you mean "limits"? known here: services, interfaces, defaults, limits, fabric, agent, metadata, api',
    ],
    [
      "name: metadata",
      "name: meta data",
      'onlink.yaml:2:11: services[0].name: "meta data" is not a service name; expected 1-64 letters, digits, dots, dashes or underscores',
    ],
    [
      "name: metadata",
      "name: dns",
      'onlink.yaml:6:11: services[1].name: "dns" is already the name of services[0] (line 2)',
    ],
    [
      "address: 169.254.169.254",
      "address: 169.254.169",
      'onlink.yaml:3:14: services[0].address: "169.254.169" is not an IPv4 address; expected one like 169.254.169.254',
    ],
    [
      "address: 169.254.169.254",
      "address: 169.254.0.255",
      "onlink.yaml:3:14: services[0].address: 169.254.0.255 is reserved (RFC 3927 s. 2.1); expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 169.254.255.255",
      "onlink.yaml:3:14: services[0].address: 169.254.255.255 is reserved (RFC 3927 s. 2.1); expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 10.0.0.1",
      "onlink.yaml:3:14: services[0].address: 10.0.0.1 is not link-local; expected 169.254.1.0-169.254.254.255, or allowAnyAddress: true for this service",
    ],
    [
      "address: 169.254.169.254",
      "address: 127.0.0.1\n    allowAnyAddress: true",
      "onlink.yaml:3:14: services[0].address: 127.0.0.1 is not a unicast address; expected 169.254.1.0-169.254.254.255",
      "onlink.yaml:6:16: services[0].backends[0]: 127.0.0.1 is the service address of services[0] (line 2); expected where the service really runs",
    ],
    [
      "address: 169.254.169.254",
      "address: 0.1.2.3\n    allowAnyAddress: true",
      "onlink.yaml:3:14: services[0].address: 0.1.2.3 is not a unicast address; expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 224.0.0.1\n    allowAnyAddress: true",
      "onlink.yaml:3:14: services[0].address: 224.0.0.1 is not a unicast address; expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 255.255.255.255\n    allowAnyAddress: true",
      "onlink.yaml:3:14: services[0].address: 255.255.255.255 is not a unicast address; expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 169.254.0.1\n    allowAnyAddress: true",
      "onlink.yaml:3:14: services[0].address: 169.254.0.1 is reserved (RFC 3927 s. 2.1); expected 169.254.1.0-169.254.254.255",
    ],
    [
      "address: 169.254.169.254",
      "address: 169.254.127.255",
      "onlink.yaml:3:14: services[0].address: 169.254.127.255 lies in the metadata addresses 169.254.64.0/18; change it or agent.metadataAddresses (line 22)",
    ],
    [
      "address: 169.254.169.254\n    port: 80\n",
      "address: 169.254.169.253\n    port: 53\n",
      "onlink.yaml:6:5: services[1]: tcp 169.254.169.253:53 is already taken by services[0] (line 2); change the address, port or protocol of one",
    ],
    [
      "protocol: [udp, tcp]",
      "protocol: [udp, sctp]",
      'onlink.yaml:9:15: services[1].protocol: ["udp", "sctp"] is not a protocol; expected tcp, udp or [tcp, udp]',
    ],
    [
      "protocol: [udp, tcp]",
      "protocol: TCP",
      'onlink.yaml:9:15: services[1].protocol: "TCP" is not a protocol; expected tcp, udp or [tcp, udp]',
    ],
    [
      "protocol: [udp, tcp]",
      "protocol: []",
      "onlink.yaml:9:15: services[1].protocol: [] is not a protocol; expected tcp, udp or [tcp, udp]",
    ],
    [
      '["127.0.0.1:8080"]',
      "[]",
      "onlink.yaml:5:15: services[0].backends: an empty list; expected at least one backend",
    ],
    [
      '["127.0.0.1:8080"]',
      "127.0.0.1:8080",
      'onlink.yaml:5:15: services[0].backends: "127.0.0.1:8080" is not a list; expected at least one backend',
    ],
    [
      '"10.0.0.3:53"',
      '"10.0.0.2:53"',
      "onlink.yaml:10:31: services[1].backends[1]: 10.0.0.2:53 is given twice in this service; expected each backend once",
    ],
    [
      '"10.0.0.3:53"',
      '"10.0.0.3"',
      'onlink.yaml:10:31: services[1].backends[1]: "10.0.0.3" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
    ],
    [
      '"10.0.0.3:53"',
      '"10.0.0.3:65536"',
      'onlink.yaml:10:31: services[1].backends[1]: "10.0.0.3:65536" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
    ],
    [
      '"10.0.0.3:53"',
      '"10.0.0.300:53"',
      'onlink.yaml:10:31: services[1].backends[1]: "10.0.0.300:53" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
    ],
    [
      '"10.0.0.3:53"',
      '"0.0.0.0:53"',
      'onlink.yaml:10:31: services[1].backends[1]: "0.0.0.0:53" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
    ],
    ...["-a.example:53", "a..example:53", "a.example", "a.1:53"].map((bad): [string, string, string] => [
      '"10.0.0.3:53"',
      `"${bad}"`,
      `onlink.yaml:10:31: services[1].backends[1]: "${bad}" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"`,
    ]),
    [
      '"10.0.0.3:53"',
      '"ns1.fabric.example:53", "NS1.fabric.example:53"',
      "onlink.yaml:10:56: services[1].backends[2]: ns1.fabric.example:53 is given twice in this service; expected each backend once",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    healthCheck: { type: icmp }\n",
      'onlink.yaml:5:26: services[0].healthCheck.type: "icmp" is not a type of check; expected tcp or http',
    ],
    [
      "    port: 80\n",
      "    port: 80\n    healthCheck: { interval: 5 }\n",
      "onlink.yaml:5:18: services[0].healthCheck.type: missing; expected a type of check, tcp or http",
      "onlink.yaml:5:30: services[0].healthCheck.interval: 5 is not a duration; expected 100ms-1h, written like 500ms, 5s or 1m",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    healthCheck: { type: http, path: health, timeout: 61s, unhealthyAfter: 0 }\n",
      'onlink.yaml:5:38: services[0].healthCheck.path: "health" is not the path of a URL; expected one like /healthz, without spaces',
      'onlink.yaml:5:55: services[0].healthCheck.timeout: "61s" is not a duration; expected 100ms-1m, written like 500ms, 5s or 1m',
      "onlink.yaml:5:76: services[0].healthCheck.unhealthyAfter: 0 is not a number of checks; expected 1-100",
    ],
    [
      "    port: 80\n",
      "    port: 80\n    healthCheck: { type: tcp, path: / }\n",
      "onlink.yaml:5:37: services[0].healthCheck.path: only a check of type http asks for a path; expected none",
    ],
    [
      '    port: 80\n    backends: ["127.0.0.1:8080"]\n',
      "    port: 80\n    kind: metadata\n    healthCheck: { type: tcp }\n",
      "onlink.yaml:6:18: services[0].healthCheck: a service of kind metadata has no backends to check; expected none",
    ],
    [
      "    protocol: [udp, tcp]\n",
      "    protocol: udp\n    healthCheck: { type: tcp }\n",
      "onlink.yaml:10:18: services[1].healthCheck: the service is on udp alone, and checks are by TCP; expected port: one on which the backends answer TCP or HTTP",
    ],
    [
      '"10.0.0.3:53"',
      '"[::1]:53"',
      'onlink.yaml:10:31: services[1].backends[1]: "[::1]:53" is not a backend; expected an address or name, and a port, like "10.0.0.2:53" or "ns1.fabric.example:53"',
    ],
    [
      '"10.0.0.3:53"',
      '"169.254.169.254:53"',
      "onlink.yaml:10:31: services[1].backends[1]: 169.254.169.254 is the service address of services[0] (line 2); expected where the service really runs",
    ],
    [
      '"tap*"',
      "lo",
      'onlink.yaml:12:11: interfaces[0].name: "lo" is the loopback interface; expected another',
    ],
    [
      '"tap*"',
      "onlink1",
      'onlink.yaml:12:11: interfaces[0].name: "onlink1" is the agent\'s own device (agent.device); expected another',
    ],
    [
      '"tap*"',
      "onlink1p",
      'onlink.yaml:12:11: interfaces[0].name: "onlink1p" is the agent\'s own device (agent.device); expected another',
    ],
    [
      '"tap*"',
      "veth-web",
      'onlink.yaml:13:11: interfaces[1].name: "veth-web" is already the name of interfaces[0] (line 12)',
    ],
    [
      '"tap*"',
      "a234567890123456",
      'onlink.yaml:12:11: interfaces[0].name: "a234567890123456" is not the name of an interface or a pattern; expected at most 15 bytes without slash, colon and white space; * and ? make it a pattern',
    ],
    [
      '"tap*"',
      "eth0/1",
      'onlink.yaml:12:11: interfaces[0].name: "eth0/1" is not the name of an interface or a pattern; expected at most 15 bytes without slash, colon and white space; * and ? make it a pattern',
    ],
    [
      '"tap*"',
      '"a23456789012345?*"',
      'onlink.yaml:12:11: interfaces[0].name: "a23456789012345?*" is not the name of an interface or a pattern; expected at most 15 bytes without slash, colon and white space; * and ? make it a pattern',
    ],
    [
      "name: veth-web",
      'name: "veth-*"',
      'onlink.yaml:14:17: interfaces[1].instanceId: identity belongs to one interface and "veth-*" is a pattern; expected a full name',
      'onlink.yaml:15:16: interfaces[1].addresses: identity belongs to one interface and "veth-*" is a pattern; expected a full name',
      'onlink.yaml:16:10: interfaces[1].mac: identity belongs to one interface and "veth-*" is a pattern; expected a full name',
    ],
    [
      "6F3A0A3E-",
      "",
      'onlink.yaml:14:17: interfaces[1].instanceId: "3b1c-4f0e-9a53-1f3a6a1d2c11" is not a UUID; expected one like 6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11',
    ],
    [
      "[10.0.1.3]",
      "[10.0.1.3, 10.0.1]",
      'onlink.yaml:15:27: interfaces[1].addresses[1]: "10.0.1" is not the IPv4 address of a host; expected one like 10.0.1.3',
    ],
    [
      "mac: 02",
      "mac: 03",
      'onlink.yaml:16:10: interfaces[1].mac: "03:00:0A:00:01:03" is not the MAC of an interface; expected one like 02:00:0a:00:01:03',
    ],
    [
      "flows: 100",
      "flows: 1000001",
      "onlink.yaml:17:18: limits.flows: 1000001 is not a number of flows; expected 1-1000000",
    ],
    [
      "flows: 100",
      "flows: 0",
      "onlink.yaml:17:18: limits.flows: 0 is not a number of flows; expected 1-1000000",
    ],
    [
      "{ flows: 100 }",
      "",
      "onlink.yaml:17:9: limits: empty; expected a map, the fields flows, flowsPerInterface",
    ],
    [
      "{ flows: 100 }",
      "100",
      "onlink.yaml:17:9: limits: 100 is not a map; expected the fields flows, flowsPerInterface",
    ],
    [
      "61000, 61999",
      "61999, 61000",
      "onlink.yaml:19:10: fabric.ports: [61999, 61000] is not a range of ports; expected [lowest, highest] within 1024-65535",
    ],
    [
      "61000, 61999",
      "1023, 61999",
      "onlink.yaml:19:10: fabric.ports: [1023, 61999] is not a range of ports; expected [lowest, highest] within 1024-65535",
    ],
    [
      "61000, 61999",
      "61000, 65536",
      "onlink.yaml:19:10: fabric.ports: [61000, 65536] is not a range of ports; expected [lowest, highest] within 1024-65535",
    ],
    [
      "  ports:",
      "  interfaces: eth0\n  ports:",
      'onlink.yaml:19:15: fabric.interfaces: "eth0" is not a list of interface names; expected auto or a list like [eth0]',
    ],
    [
      "  ports:",
      '  interfaces: ["eth*"]\n  ports:',
      'onlink.yaml:19:15: fabric.interfaces: ["eth*"] is not a list of interface names; expected auto or a list like [eth0]',
    ],
    [
      "  ports:",
      "  interfaces: [eth0, lo]\n  ports:",
      'onlink.yaml:19:22: fabric.interfaces[1]: "lo" is the loopback interface; expected another',
    ],
    [
      "  ports:",
      "  sourceAddress: 127.0.0.1\n  ports:",
      'onlink.yaml:19:18: fabric.sourceAddress: "127.0.0.1" is not the IPv4 address of a host; expected auto or one like 192.0.2.10',
    ],
    [
      "169.254.64.0/18",
      "169.254.64.1/18",
      'onlink.yaml:22:22: agent.metadataAddresses: "169.254.64.1/18" is not an IPv4 prefix; expected one like 169.254.64.0/18, with no bits set beyond its length',
    ],
    [
      "169.254.64.0/18",
      "169.254.64.0/29",
      "onlink.yaml:22:22: agent.metadataAddresses: 169.254.64.0/29 is too small; expected a /28 or larger",
    ],
    [
      "169.254.64.0/18",
      "10.0.0.0/18",
      "onlink.yaml:22:22: agent.metadataAddresses: 10.0.0.0/18 is not within 169.254.0.0/16; expected a part of it",
    ],
    [
      "169.254.64.0/18",
      "169.254.0.0/18",
      "onlink.yaml:22:22: agent.metadataAddresses: 169.254.0.0/18 holds reserved addresses (RFC 3927 s. 2.1); expected a prefix without 169.254.0.0/24 and 169.254.255.0/24",
    ],
    [
      "169.254.64.0/18",
      "169.254.192.0/18",
      "onlink.yaml:22:22: agent.metadataAddresses: 169.254.192.0/18 holds reserved addresses (RFC 3927 s. 2.1); expected a prefix without 169.254.0.0/24 and 169.254.255.0/24",
    ],
    [
      "169.254.64.0/18",
      "169.254.0.16/28",
      "onlink.yaml:22:22: agent.metadataAddresses: 169.254.0.16/28 holds reserved addresses (RFC 3927 s. 2.1); expected a prefix without 169.254.0.0/24 and 169.254.255.0/24",
    ],
    [
      "[10.0.1.3]",
      "[224.0.0.1]",
      'onlink.yaml:15:17: interfaces[1].addresses[0]: "224.0.0.1" is not the IPv4 address of a host; expected one like 10.0.1.3',
    ],
    [
      "device: onlink1",
      "device: onlink123456789",
      'onlink.yaml:21:11: agent.device: "onlink123456789" is not a device name; expected at most 14 bytes without slash, colon, percent sign, *, ? and white space; not lo, all or default',
    ],
    [
      "device: onlink1",
      "device: onlink%d",
      'onlink.yaml:21:11: agent.device: "onlink%d" is not a device name; expected at most 14 bytes without slash, colon, percent sign, *, ? and white space; not lo, all or default',
    ],
    [
      "device: onlink1",
      "device: lo",
      'onlink.yaml:21:11: agent.device: "lo" is not a device name; expected at most 14 bytes without slash, colon, percent sign, *, ? and white space; not lo, all or default',
    ],
    [
      "/run/onlink1",
      "run/onlink1",
      'onlink.yaml:23:15: agent.runtimeDir: "run/onlink1" is not an absolute path of at most 95 bytes; expected one like /run/onlink, not under /proc or /sys',
    ],
    [
      "/run/onlink1",
      "/run/../proc/onlink",
      'onlink.yaml:23:15: agent.runtimeDir: "/run/../proc/onlink" is not an absolute path of at most 95 bytes; expected one like /run/onlink, not under /proc or /sys',
    ],
    [
      "/run/onlink1",
      `/${"r".repeat(95)}`,
      'onlink.yaml:23:15: agent.runtimeDir: "/rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr... is not an absolute path of at most 95 bytes; expected one like /run/onlink, not under /proc or /sys',
    ],
    [
      "  device:",
      "  attach: xdp\n  device:",
      'onlink.yaml:21:11: agent.attach: "xdp" is not a way to attach; expected auto, tcx or clsact',
    ],
    [
      "mac: 02:00:0A:00:01:03",
      "mac: *none",
      "onlink.yaml:16:10: an alias (after *) without its anchor (after &) before it; a text that begins with * needs quotes",
    ],
    [
      "services:\n",
      "services: [\n",
      "onlink.yaml:2:11: not YAML: Nested mappings are not allowed in compact mappings",
    ],
    [
      "agent:\n",
      "---\nagent:\n",
      "onlink.yaml:20:1: a second document begins here; expected one document in the file",
    ],
  ])("%j -> %j", (from, to, ...errors) => {
    expect(errorsOf(replaced(from, to))).toEqual(errors);
  });
});

describe("a file that is wrong in many places", () => {
  test("gives all its errors at once, in the order of its lines", () => {
    const text = `\
services:
  - name: a
    address: 10.0.0.1
    port: 0
    colour: red
    backends: ["10.0.0.2:80"]
  - name: a
    address: 169.254.0.1
    port: 80
    backends: []
limits: { flows: many }
agent: { device: lo, metadataAddresses: 10.0.0.0/8 }
`;
    expect(errorsOf(text)).toEqual([
      "onlink.yaml:1:1: interfaces: missing; expected a list, at least one interface name or pattern, else there is nothing to do",
      "onlink.yaml:3:14: services[0].address: 10.0.0.1 is not link-local; expected 169.254.1.0-169.254.254.255, or allowAnyAddress: true for this service",
      "onlink.yaml:4:11: services[0].port: 0 is not a port; expected 1-65535",
      'onlink.yaml:5:5: services[0].colour: unknown field "colour"; known here: name, address, port, kind, protocol, backends, healthCheck, responseHopLimit, whenNoBackend, drain, allowAnyAddress',
      'onlink.yaml:7:11: services[1].name: "a" is already the name of services[0] (line 2)',
      "onlink.yaml:8:14: services[1].address: 169.254.0.1 is reserved (RFC 3927 s. 2.1); expected 169.254.1.0-169.254.254.255",
      "onlink.yaml:10:15: services[1].backends: an empty list; expected at least one backend",
      'onlink.yaml:11:18: limits.flows: "many" is not a number of flows; expected 1-1000000',
      'onlink.yaml:12:18: agent.device: "lo" is not a device name; expected at most 14 bytes without slash, colon, percent sign, *, ? and white space; not lo, all or default',
      "onlink.yaml:12:41: agent.metadataAddresses: 10.0.0.0/8 is not within 169.254.0.0/16; expected a part of it",
    ]);
  });

  test("carries the value found, for programs", () => {
    const result = parseConfig(replaced("port: 80\n", "port: 70000\n"), file);
    expect(result).toEqual({
      ok: false,
      errors: [
        {
          file,
          line: 4,
          column: 11,
          path: "services[0].port",
          found: 70000,
          message: "70000 is not a port; expected 1-65535",
        },
      ],
    });
  });
});

describe("a file in JSON that is wrong", () => {
  const json = JSON.stringify(parse(right), null, 2);

  test.each([
    [
      "has a field twice",
      ['"port": 53,', '"port": 53, "port": 54,'],
      'onlink.yaml:14:19: "port" is given twice; expected it once',
    ],
    [
      "has a value that is wrong by itself",
      ['"port": 53,', '"port": 70000,'],
      "onlink.yaml:14:15: services[1].port: 70000 is not a port; expected 1-65535",
    ],
    [
      "breaks a rule",
      ['"169.254.169.253"', '"10.0.0.3"'],
      "onlink.yaml:13:18: services[1].address: 10.0.0.3 is not link-local; expected 169.254.1.0-169.254.254.255, or allowAnyAddress: true for this service",
    ],
    ["ends too early", ['"port": 53,', '"port": 53'], "onlink.yaml:14:15: not YAML: "],
  ])("%s", (_, [from, to], message) => {
    expect(json.split(from!)).toHaveLength(2);
    expect(errorsOf(json.replace(from!, to!))[0]).toContain(message);
  });
});

describe("a file that is no configuration", () => {
  const nested = "[".repeat(20_000);
  const laughs = ["a: &a [1,1,1,1,1,1,1,1,1]"];
  for (const [from, to] of ["ab", "bc", "cd", "de"]) {
    laughs.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join()}]`);
  }

  test.each([
    [
      "nothing",
      "",
      "empty; expected a map, the fields services, interfaces, defaults, limits, fabric, agent, metadata, api",
    ],
    [
      "a word",
      "onlink",
      '"onlink" is not a map; expected the fields services, interfaces, defaults, limits, fabric, agent, metadata, api',
    ],
    ["an alias of what is not there", "a: *b", "an alias (after *)"],
    ["aliases that unfold without end", laughs.join("\n"), "Excessive alias count"],
    ["an alias of itself", "services: &a [*a]\ninterfaces: *a", "services[0]: [[...]] is not a map"],
    ["a tag", "!!js/function x", "Unresolved tag"],
    ["lists in lists", nested, "not YAML: "],
  ])("%s", (_, text, message) => {
    expect(errorsOf(text).join("\n")).toContain(message);
  });
});

describe("any text", () => {
  /** Values that come close to a configuration: known names with any values in known places. */
  const near = fc.letrec((tie) => ({
    leaf: fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(
        "169.254.169.254",
        "10.0.0.2:53",
        "tap*",
        "lo",
        "tcp",
        "169.254.64.0/18",
        80,
        true,
        null,
      ),
    ),
    map: fc.dictionary(
      fc.constantFrom(
        "name",
        "address",
        "port",
        "protocol",
        "backends",
        "mac",
        "device",
        "flows",
        "ports",
        "addresses",
        "healthCheck",
      ),
      fc.oneof(tie("leaf"), fc.array(tie("leaf"), { maxLength: 3 })),
    ),
    config: fc.dictionary(
      fc.constantFrom("services", "interfaces", "limits", "fabric", "agent", "api", "metadata"),
      fc.oneof(tie("map"), fc.array(tie("map"), { maxLength: 3 }), tie("leaf")),
    ),
  }));
  const damaged = fc
    .tuple(fc.nat(right.length), fc.nat(10), fc.string({ maxLength: 5 }))
    .map(([at, cut, put]) => right.slice(0, at) + put + right.slice(at + cut));

  test.each([
    ["at random", fc.string({ unit: "binary" })],
    ["made of YAML's signs", fc.string({ unit: fc.constantFrom(..."{}[]&*!|>-:?#,'\"%@` \n\tab1") })],
    ["near a configuration", near.config.map((value) => stringify(value))],
    ["damaged", damaged],
  ])("%s gives a configuration or errors on lines of the file, and never throws", (_, texts) => {
    fc.assert(
      fc.property(texts, (text) => {
        const result = parseConfig(text, file);
        if (result.ok) return;
        expect(result.errors).not.toEqual([]);
        const lines = text.split("\n");
        for (const error of result.errors) {
          expect(error.line).toBeGreaterThanOrEqual(1);
          expect(error.line).toBeLessThanOrEqual(lines.length);
          expect(error.column).toBeGreaterThanOrEqual(1);
          expect(error.column).toBeLessThanOrEqual(lines[error.line - 1]!.length + 1);
          expect(formatConfigError(error)).toMatch(/^onlink\.yaml:\d+:\d+: [^\n]+$/);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("loadConfig", () => {
  test("reads the file", () => {
    const path = fileURLToPath(new URL("../../docs/onlink.example.yaml", import.meta.url));
    expect(loadConfig(path)).toMatchObject({ ok: true, config: { agent: { device: "onlink0" } } });
  });

  test("says why a file cannot be read", () => {
    const result = loadConfig("/nonexistent/onlink.yaml");
    expect(result.ok ? [] : result.errors.map(formatConfigError)).toEqual([
      "/nonexistent/onlink.yaml: cannot be read: ENOENT: no such file or directory, open '/nonexistent/onlink.yaml'",
    ]);
  });
});
