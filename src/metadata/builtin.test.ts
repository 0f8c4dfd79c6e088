import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GuestMetadata, guestMetadataSchema } from "../config/guest-metadata.ts";
import { createBuiltin } from "./builtin.ts";
import { EC2_VERSIONS } from "./ec2.ts";
import { OPENSTACK_VERSIONS } from "./openstack.ts";
import { normalizePath } from "./path.ts";
import type { GuestIdentity } from "./types.ts";

/** A guest about which only the host knows something. */
const plain: GuestIdentity = {
  interface: "veth-web",
  metadataAddress: "169.254.64.2",
  instanceId: "6f3a0a3e-3b1c-4f0e-9a53-1f3a6a1d2c11",
  projectId: "0f7c1e0a-5b52-4f3e-8a0e-6d4f0b7a9e21",
  addresses: ["10.0.1.3", "10.0.1.4"],
  mac: "02:00:0a:00:01:03",
  gateway: { address: "10.0.1.1", answerArp: true },
};

/** One of which nothing is known. */
const stranger: GuestIdentity = { interface: "tap0", metadataAddress: "169.254.64.3", addresses: [] };

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== alice@example";

const full: GuestMetadata = guestMetadataSchema.parse({
  hostname: "web.example",
  publicKeys: { alice: key, bob: `${key} too` },
  userData: "#cloud-config\n",
  availabilityZone: "zone-1a",
  region: "zone-1",
  instanceType: "m1.small",
  imageId: "ami-1",
  tags: { stage: "test" },
  credentials: {
    role: "reader",
    accessKeyId: "AKIA",
    secretAccessKey: "secret",
    token: "token",
    expiration: "2030-01-01T00:00:00Z",
  },
  network: { subnet: "10.0.1.0/24", mtu: 1400, nameservers: ["10.0.0.2"] },
  ec2: {
    "meta-data": { "ami-launch-index": null, custom: { list: ["a", 1], deep: { flag: true } } },
    dynamic: { "instance-identity": { document: { accountId: "123456789012" } } },
  },
  openstack: {
    "meta_data.json": { launch_index: null, extra: [1] },
    "vendor_data.json": { "cloud-init": "x" },
  },
});

function ask(
  path: string,
  {
    guest = plain,
    metadata,
    accept,
    method = "GET",
  }: {
    guest?: GuestIdentity;
    metadata?: GuestMetadata | undefined;
    accept?: string;
    method?: string;
  } = {},
) {
  const handle = createBuiltin({ version: () => 0, of: () => metadata });
  const headers = new Map(accept === undefined ? [] : [["accept", accept]]);
  const {
    status,
    body,
    headers: fields,
  } = handle({ method, path, names: normalizePath(path), query: "", headers, body: new Uint8Array() }, guest);
  return { status, body: Buffer.from(body).toString(), type: fields[0]?.[1], fields };
}

const bodyOf = (path: string, options: Parameters<typeof ask>[1] = {}) => {
  const { status, body } = ask(path, options);
  return status === 200 ? body : status;
};
const jsonOf = (path: string, options: Parameters<typeof ask>[1] = {}) =>
  JSON.parse(ask(path, { accept: "application/json", ...options }).body);

describe("in EC2's form, from the interface alone", () => {
  test.each([
    ["/", [...EC2_VERSIONS].join("\n")],
    ["/latest", "dynamic/\nmeta-data/"],
    ["/latest/meta-data/instance-id", plain.instanceId],
    ["/latest/meta-data/local-hostname", "ip-10-0-1-3"],
    ["/latest/meta-data/local-ipv4", "10.0.1.3"],
    ["/latest/meta-data/mac", "02:00:0a:00:01:03"],
    ["/latest/meta-data/network/interfaces/macs/", "02:00:0a:00:01:03/"],
    ["/latest/meta-data/network/interfaces/macs/02:00:0a:00:01:03/device-number", "0"],
    ["/latest/meta-data/network/interfaces/macs/02:00:0a:00:01:03/local-ipv4s", "10.0.1.3\n10.0.1.4"],
    ["/latest/meta-data/public-keys/", 404],
    ["/latest/meta-data/placement/", 404],
    ["/latest/meta-data/iam/", 404],
    ["/latest/user-data", 404],
  ])("%s", (path, expected) => {
    expect(bodyOf(path)).toBe(expected);
  });

  test("of a guest that is not known there is an instance id, the same each time and no other's", () => {
    const idOf = (guest: GuestIdentity) => bodyOf("/latest/meta-data/instance-id", { guest });
    expect(idOf(stranger)).toMatch(/^i-[0-9a-f]{17}$/);
    expect(idOf({ ...stranger, metadataAddress: "169.254.64.9" })).toBe(idOf(stranger));
    expect(idOf({ ...stranger, interface: "tap1" })).not.toBe(idOf(stranger));
    expect(idOf({ ...stranger, mac: "02:00:00:00:00:01" })).not.toBe(idOf(stranger));
    expect(bodyOf("/latest/meta-data/", { guest: stranger })).toBe(
      "ami-launch-index\nhostname\ninstance-id\nlocal-hostname",
    );
  });
});

describe("in EC2's form, with what the operator says", () => {
  test.each([
    ["/latest/", "dynamic/\nmeta-data/\nuser-data"],
    ["/latest/user-data", "#cloud-config\n"],
    ["/latest/meta-data/local-hostname", "web.example"],
    ["/latest/meta-data/public-keys", "0=alice\n1=bob"],
    ["/latest/meta-data/public-keys/0", "openssh-key"],
    ["/latest/meta-data/public-keys/0/openssh-key", key],
    ["/latest/meta-data/public-keys/1/openssh-key", `${key} too`],
    ["/latest/meta-data/placement/", "availability-zone\nregion"],
    ["/latest/meta-data/instance-type", "m1.small"],
    ["/latest/meta-data/ami-id", "ami-1"],
    ["/latest/meta-data/tags/instance/stage", "test"],
    ["/latest/meta-data/iam/security-credentials/", "reader"],
    ["/latest/meta-data/network/interfaces/macs/02:00:0a:00:01:03/subnet-ipv4-cidr-block", "10.0.1.0/24"],
    ["/latest/meta-data/ami-launch-index", 404],
    ["/latest/meta-data/custom", "list\ndeep/"],
    ["/latest/meta-data/custom/list", "a\n1"],
    ["/latest/meta-data/custom/deep/flag", "true"],
  ])("%s", (path, expected) => {
    expect(bodyOf(path, { metadata: full })).toBe(expected);
  });

  test("documents are JSON", () => {
    const read = (path: string) => JSON.parse(String(bodyOf(path, { metadata: full })));
    expect(read("/latest/meta-data/iam/security-credentials/reader")).toEqual({
      Code: "Success",
      Type: "AWS-HMAC",
      AccessKeyId: "AKIA",
      SecretAccessKey: "secret",
      Token: "token",
      Expiration: "2030-01-01T00:00:00Z",
    });
    expect(read("/latest/dynamic/instance-identity/document")).toMatchObject({
      accountId: "123456789012",
      instanceId: plain.instanceId,
      region: "zone-1",
    });
  });

  test("text has the media type of text, user data of bytes", () => {
    expect(ask("/latest/meta-data/").type).toBe("text/plain");
    expect(ask("/latest/user-data", { metadata: full }).type).toBe("application/octet-stream");
  });

  test("user data of base64 is given as bytes, and as it was given in JSON", () => {
    const bytes = Buffer.from([0, 255, 128, 10]);
    const metadata = { userData: { base64: bytes.toString("base64") } };
    const handle = createBuiltin({ version: () => 0, of: () => metadata });
    for (const path of ["/latest/user-data", "/openstack/latest/user_data"]) {
      const { body } = handle(
        {
          method: "GET",
          path,
          names: normalizePath(path),
          query: "",
          headers: new Map(),
          body: new Uint8Array(),
        },
        plain,
      );
      expect(body, path).toEqual(bytes);
    }
    expect(jsonOf("/latest/user-data", { metadata })).toEqual(metadata.userData);
  });

  test("keys in a list have names by their place", () => {
    expect(bodyOf("/latest/meta-data/public-keys/", { metadata: { publicKeys: [key, key] } })).toBe(
      "0=key-1\n1=key-2",
    );
  });

  test("all versions are alike, and there are no others", () => {
    for (const version of EC2_VERSIONS)
      expect(bodyOf(`/${version}/meta-data/ami-id`, { metadata: full })).toBe("ami-1");
    for (const version of ["2000-01-01", "LATEST", "meta-data"]) {
      expect(bodyOf(`/${version}/meta-data/ami-id`, { metadata: full })).toBe(404);
    }
  });
});

describe("as JSON, for those who accept it", () => {
  test("a value, a directory and the whole", () => {
    expect(jsonOf("/latest/meta-data/local-ipv4")).toBe("10.0.1.3");
    expect(jsonOf("/latest/meta-data/placement", { metadata: full })).toEqual({
      "availability-zone": "zone-1a",
      region: "zone-1",
    });
    const whole = jsonOf("/", { metadata: full });
    expect(whole.latest["meta-data"]["public-keys"]).toEqual({
      0: { "openssh-key": key },
      1: { "openssh-key": `${key} too` },
    });
    expect(whole.latest).toEqual(jsonOf("/2021-03-23", { metadata: full }));
    expect(whole.latest["user-data"]).toBe("#cloud-config\n");
  });

  test.each([
    ["application/json", true],
    ["text/html, Application/JSON;q=0.9", true],
    ["*/*", false],
    ["application/jsonp", false],
    ["text/plain", false],
  ])("which is %s: %s", (accept, isJson) => {
    expect(ask("/latest/meta-data/mac", { accept }).type).toBe(isJson ? "application/json" : "text/plain");
  });
});

describe("in OpenStack's form", () => {
  test("versions and files are listed", () => {
    expect(bodyOf("/openstack")).toBe([...OPENSTACK_VERSIONS].join("\n"));
    const files = ["meta_data.json", "network_data.json", "vendor_data.json", "vendor_data2.json"];
    expect(bodyOf("/openstack/latest/")).toBe(files.join("\n"));
    expect(bodyOf("/openstack/latest/", { metadata: full })).toBe([...files, "user_data"].join("\n"));
  });

  test("from the interface alone", () => {
    expect(jsonOf("/openstack/latest/meta_data.json")).toEqual({
      uuid: plain.instanceId,
      name: "ip-10-0-1-3",
      hostname: "ip-10-0-1-3",
      launch_index: 0,
      project_id: plain.projectId,
    });
    expect(jsonOf("/openstack/2018-08-27/network_data.json")).toEqual({
      links: [{ id: "interface0", type: "phy", ethernet_mac_address: "02:00:0a:00:01:03" }],
      networks: [{ id: "network0", network_id: "network0", link: "interface0", type: "ipv4_dhcp" }],
      services: [],
    });
    expect(bodyOf("/openstack/latest/user_data")).toBe(404);
    expect(jsonOf("/openstack/latest/vendor_data.json")).toEqual({});
    expect(bodyOf("/openstack/latest/network_data.json", { guest: stranger })).toBe(404);
  });

  test("with what the operator says", () => {
    const read = (file: string) => jsonOf(`/openstack/latest/${file}`, { metadata: full });
    expect(read("meta_data.json")).toEqual({
      uuid: plain.instanceId,
      name: "web.example",
      hostname: "web.example",
      project_id: plain.projectId,
      availability_zone: "zone-1a",
      meta: { stage: "test" },
      public_keys: { alice: key, bob: `${key} too` },
      keys: [
        { name: "alice", type: "ssh", data: key },
        { name: "bob", type: "ssh", data: `${key} too` },
      ],
      extra: [1],
    });
    expect(bodyOf("/openstack/latest/user_data", { metadata: full })).toBe("#cloud-config\n");
    expect(read("vendor_data.json")).toEqual({ "cloud-init": "x" });
  });

  test("addresses and the default route are given where all of them are known", () => {
    const { links, networks, services } = jsonOf("/openstack/latest/network_data.json", { metadata: full });
    expect(links[0].mtu).toBe(1400);
    const network = { link: "interface0", type: "ipv4", netmask: "255.255.255.0" };
    expect(networks).toEqual([
      {
        ...network,
        id: "network0",
        network_id: "network0",
        ip_address: "10.0.1.3",
        routes: [{ network: "0.0.0.0", netmask: "0.0.0.0", gateway: "10.0.1.1" }],
      },
      { ...network, id: "network1", network_id: "network1", ip_address: "10.0.1.4", routes: [] },
    ]);
    expect(services).toEqual([{ type: "dns", address: "10.0.0.2" }]);
    const { gateway: _, ...routeless } = plain;
    const without = jsonOf("/openstack/latest/network_data.json", { guest: routeless, metadata: full });
    expect(without.networks).toMatchObject([{ type: "ipv4_dhcp" }]);
  });

  test("is not offered in the version that would let guests deposit passwords", () => {
    expect(bodyOf("/openstack/2013-04-04/meta_data.json")).toBe(404);
  });
});

describe("whatever a guest asks", () => {
  test.each(["POST", "PUT", "DELETE"])("%s gets 405", (method) => {
    const { status, fields } = ask("/latest/meta-data/", { method });
    expect({ status, fields }).toMatchObject({
      status: 405,
      fields: expect.arrayContaining([["Allow", "GET, HEAD"]]),
    });
  });

  test("HEAD gets what GET gets, for the front to leave the body out", () => {
    expect(ask("/latest/meta-data/mac", { method: "HEAD" })).toEqual(ask("/latest/meta-data/mac"));
  });

  test.each([
    "/latest/__proto__",
    "/latest/meta-data/constructor",
    "/__proto__/meta-data/",
    "/openstack/latest/__proto__",
    "/openstack/constructor/meta_data.json",
    "/latest/meta-data/../../../etc/passwd",
    "/latest/%2e%2e/%2e%2e/etc/passwd",
    "/latest/meta-data%2fmac",
    "/latest/meta-data/mac/x",
    "/latest/meta-data/mac%00",
    "/%",
    "/latest/meta-dat",
  ])("%s is not there", (path) => {
    expect(bodyOf(path, { metadata: full })).toBe(404);
    expect(ask(path, { metadata: full, accept: "application/json" }).status).toBe(404);
  });

  test("only paths of its own tree are there, and every path that is listed", () => {
    const reachable = new Set<string>();
    const visit = (path: string) => {
      const { status, body } = ask(path, { metadata: full });
      expect(status, path).toBe(200);
      reachable.add(path.replace(/\/$/, ""));
      if (!path.endsWith("/")) return;
      for (const line of body.split("\n")) {
        const index = /^(\d+)=/.exec(line)?.[1];
        visit(path + (index === undefined ? line : `${index}/`));
      }
    };
    visit("/latest/");
    expect(reachable.size).toBeGreaterThan(30);
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom("meta-data", "dynamic", "latest", "..", "iam")), {
          maxLength: 5,
        }),
        (names) => {
          const path = `/latest/${names.map(encodeURIComponent).join("/")}`;
          const { status } = ask(path, { metadata: full });
          const isThere = reachable.has(
            `/latest/${names.filter((name) => name !== "").join("/")}`.replace(/\/$/, ""),
          );
          expect(status).toBe(isThere ? 200 : 404);
        },
      ),
    );
  });
});

describe("answers are kept", () => {
  test("per guest, until what is said about it changes", () => {
    let version = 1;
    let metadata: GuestMetadata = { hostname: "a" };
    let asked = 0;
    const handle = createBuiltin({
      version: () => version,
      of: () => {
        asked++;
        return metadata;
      },
    });
    const get = (guest: GuestIdentity) =>
      handle(
        {
          method: "GET",
          path: "/latest/meta-data/hostname",
          names: "latest/meta-data/hostname",
          query: "",
          headers: new Map(),
          body: new Uint8Array(),
        },
        guest,
      );
    const first = get(plain);
    expect(get(plain)).toBe(first);
    expect(asked).toBe(1);
    version++;
    expect(get(plain), "something else has changed").toBe(first);
    metadata = { hostname: "b" };
    version++;
    expect(get(plain).body).toBe("b");
    expect(get({ ...plain }), "another guest").not.toBe(get(plain));
  });
});
