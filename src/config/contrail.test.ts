import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importVrouterConfig, readVrouterConfig } from "./contrail.ts";
import { parseConfig } from "./load.ts";

const NTP = {
  linklocal_service_name: "ntp",
  linklocal_service_ip: "169.254.169.123",
  linklocal_service_port: 123,
  ip_fabric_service_ip: ["10.0.0.5", "10.0.0.6"],
  ip_fabric_service_port: 1123,
  ip_fabric_DNS_service_name: "",
};
const importJson = (...entries: object[]) =>
  importVrouterConfig(
    readVrouterConfig(
      JSON.stringify({
        "global-vrouter-config": { linklocal_services: { linklocal_service_entry: entries } },
      }),
    ),
  );

describe("readVrouterConfig", () => {
  const [wanted] = readVrouterConfig(
    JSON.stringify({ linklocal_services: { linklocal_service_entry: [NTP] } }),
  ).entries;

  it("finds the services in what the API server lists, and names the other settings", () => {
    const config = {
      uuid: "e5b2b1a0-5d7f-4c3e-9a53-1f3a6a1d2c11",
      fq_name: ["default-global-system-config", "default-global-vrouter-config"],
      id_perms: { enable: true },
      encryption_mode: "none",
      forwarding_mode: null,
      encapsulation_priorities: { encapsulation: ["VXLAN"] },
      linklocal_services: { linklocal_service_entry: [NTP] },
    };
    const text = JSON.stringify({ "global-vrouter-configs": [{ "global-vrouter-config": config }] });
    expect(readVrouterConfig(text)).toEqual({
      entries: [wanted],
      others: ["encapsulation_priorities", "encryption_mode"],
    });
  });

  it("finds the same in XML", () => {
    const xml = `<?xml version="1.0"?>
<config><update><node type="global-vrouter-config"><name>c</name>
  <encryption-mode>none</encryption-mode>
  <linklocal-services>
    <linklocal-service-entry>
      <linklocal-service-name>ntp</linklocal-service-name>
      <linklocal-service-ip>169.254.169.123</linklocal-service-ip>
      <linklocal-service-port>123</linklocal-service-port>
      <ip-fabric-DNS-service-name></ip-fabric-DNS-service-name>
      <ip-fabric-service-ip>10.0.0.5</ip-fabric-service-ip>
      <ip-fabric-service-ip>10.0.0.6</ip-fabric-service-ip>
      <ip-fabric-service-port>1123</ip-fabric-service-port>
    </linklocal-service-entry>
  </linklocal-services>
</node></update></config>`;
    const read = readVrouterConfig(xml);
    expect(read.others).toEqual(["encryption_mode"]);
    expect(importVrouterConfig({ ...read, others: [] })).toEqual(importJson(NTP));
    const alone = /<linklocal-services>.*<\/linklocal-services>/s.exec(xml)![0];
    expect(importVrouterConfig(readVrouterConfig(alone))).toEqual(importJson(NTP));
  });

  it.each(["", "\u001b[2J\u0000", "{]"])("refuses %j, which is neither, in printable words", (text) => {
    expect(() => readVrouterConfig(text)).toThrow(/^neither XML nor JSON: [\x20-\x7e]+$/);
  });

  it.each(["{}", "[1]", '"x"', "<a/>", "<linklocal>x</linklocal>"])("refuses %s, which has none", (text) => {
    expect(() => readVrouterConfig(text)).toThrow(
      new SyntaxError("no linklocal_services in it; expected a global-vrouter-config"),
    );
  });

  it.each(['{"global-vrouter-config":{"linklocal_services":null}}', "<linklocal-services/>"])(
    "takes %s, which has none yet",
    (text) => {
      expect(readVrouterConfig(text).entries).toEqual([]);
    },
  );
});

describe("importVrouterConfig", () => {
  it("makes a service on both protocols of each entry", () => {
    expect(importJson(NTP)).toEqual({
      config: {
        services: [
          {
            name: "ntp",
            address: "169.254.169.123",
            port: 123,
            protocol: ["tcp", "udp"],
            backends: ["10.0.0.5:1123", "10.0.0.6:1123"],
          },
        ],
        interfaces: [{ name: "tap*" }],
      },
      lost: [],
      notes: ['interfaces: here all that are named "tap*", as Nova names them'],
    });
  });

  it("makes the metadata service of what has metadata in its name, its backends upstreams", () => {
    const { config, notes } = importJson(
      {
        ...NTP,
        linklocal_service_name: "Nova-MetaData",
        linklocal_service_ip: "169.254.169.254",
        linklocal_service_port: "80",
        ip_fabric_service_ip: [],
        ip_fabric_DNS_service_name: "Nova.example",
        ip_fabric_service_port: "8775",
      },
      NTP,
    );
    expect(config.services[0]).toEqual({
      name: "nova-metadata",
      address: "169.254.169.254",
      port: 80,
      kind: "metadata",
    });
    expect(config.metadata).toEqual({ mode: "proxy", proxy: { upstream: ["http://nova.example:8775"] } });
    expect(notes[0]).toMatch(/secret/);
  });

  it("gives names a form of ours, and no two the same", () => {
    const named = (name: string, port: number) => ({
      ...NTP,
      linklocal_service_name: name,
      linklocal_service_port: port,
    });
    const { config, notes } = importJson(
      ...["NTP", "ntp", "a b/c", "", "_x", `${"y".repeat(70)}`, "ntp"].map((name, index) =>
        named(name, index + 1),
      ),
    );
    expect(config.services.map(({ name }) => name)).toEqual([
      "ntp",
      "ntp-2",
      "a-b-c",
      "service-4",
      "x",
      "y".repeat(60),
      "ntp-3",
    ]);
    expect(notes).toContain('service "a b/c": its name is now a-b-c');
    expect(notes.filter((note) => note.includes("its name"))).toHaveLength(6);
  });

  it.each<[string, object, string]>([
    ["IPv6", { linklocal_service_ip: "fd00::1" }, 'its address "fd00::1" is not IPv4'],
    ["no address", { linklocal_service_ip: null }, 'its address "" is not IPv4'],
    [
      "a reserved address",
      { linklocal_service_ip: "169.254.0.1" },
      "its address 169.254.0.1 is reserved (RFC 3927 s. 2.1)",
    ],
    ["multicast", { linklocal_service_ip: "224.0.0.1" }, "its address 224.0.0.1 is not a host's"],
    ["port 0", { linklocal_service_port: 0 }, "its port is missing, or not 1-65535"],
    ["no port", { linklocal_service_port: undefined }, "its port is missing, or not 1-65535"],
    [
      "a fabric port that is none",
      { ip_fabric_service_port: 65_536 },
      "its fabric port is missing, or not 1-65535",
    ],
    ["no backend", { ip_fabric_service_ip: [] }, "no backend is left of it"],
    [
      "a backend that is none",
      { ip_fabric_service_ip: ["0.0.0.0"] },
      'its backend "0.0.0.0" is neither an IPv4 address of a host nor a name',
    ],
    [
      "an endless way",
      { ip_fabric_service_ip: ["169.254.169.123"] },
      "its backend 169.254.169.123 is a service address",
    ],
    [
      "an address that is taken",
      { ip_fabric_service_ip: ["10.9.9.9"], linklocal_service_port: 80 },
      "169.254.169.123:80 is that of first already, the one that OpenSDN uses",
    ],
  ])("leaves out an entry with %s, and says so", (_, changes, reason) => {
    const first = { ...NTP, linklocal_service_name: "first", linklocal_service_port: 80 };
    const { config, lost } = importJson(first, { ...NTP, ...changes });
    expect(config.services.map(({ name }) => name)).toEqual(["first"]);
    expect(lost[0]).toBe(`service "ntp": ${reason}`);
  });

  it("keeps the backends that can be, once each, and no name beside addresses", () => {
    const { config, lost } = importJson({
      ...NTP,
      ip_fabric_service_ip: ["10.0.0.5", "::1", "10.0.0.5", "127.0.0.1"],
      ip_fabric_DNS_service_name: "ntp.example",
    });
    expect(config.services[0]!.backends).toEqual(["10.0.0.5:1123", "127.0.0.1:1123"]);
    expect(lost).toEqual([
      'service "ntp": its backend "::1" is neither an IPv4 address of a host nor a name',
    ]);
  });

  it("takes another pool of metadata addresses where a service address lies in ours", () => {
    const { config } = importJson({ ...NTP, linklocal_service_ip: "169.254.64.9" });
    expect(config.agent).toEqual({ metadataAddresses: "169.254.128.0/18" });
  });

  it("allows an address that is not link-local", () => {
    const { config } = importJson({ ...NTP, linklocal_service_ip: "10.10.10.1" });
    expect(config.services[0]).toMatchObject({ address: "10.10.10.1", allowAnyAddress: true });
  });

  it("makes a right configuration of whatever entries there are", () => {
    const address = fc.constantFrom(
      ...["169.254.169.254", "169.254.64.9", "169.254.130.1", "10.10.10.1", "127.0.0.1", "0.0.0.0", "x", ""],
    );
    const port = fc.oneof(fc.constantFrom(0, 80, "80", 65_536, -1, "x", null, 1.5), fc.nat(70_000));
    const entry = fc.record(
      {
        linklocal_service_name: fc.oneof(
          fc.constantFrom("metadata", "Metadata2", "ntp"),
          fc.string(),
          fc.nat(),
        ),
        linklocal_service_ip: fc.oneof(address, fc.anything()),
        linklocal_service_port: port,
        ip_fabric_service_ip: fc.oneof(fc.array(address), address),
        ip_fabric_service_port: port,
        ip_fabric_DNS_service_name: fc.oneof(fc.constantFrom("a.example", "A_b", "-", ""), fc.string()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(entry, fc.anything()), { maxLength: 8 }), (entries) => {
        const text = JSON.stringify({ linklocal_services: { linklocal_service_entry: entries } });
        const { config, lost } = importVrouterConfig(readVrouterConfig(text));
        expect(config.services.length > 0 || lost.length >= entries.length).toBe(true);
        if (config.services.length === 0) return;
        const result = parseConfig(JSON.stringify(config), "onlink.yaml");
        expect(result.ok ? [] : result.errors).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
