import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { guestMetadataSchema, MAX_DEPTH, MAX_DOCUMENT_LENGTH, MAX_USER_DATA } from "./guest-metadata.ts";

function faultsOf(input: unknown): string[] {
  const parsed = guestMetadataSchema.safeParse(input);
  return parsed.success
    ? []
    : parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

/** Maps in each other, this many. */
function nested(depth: number): unknown {
  return depth === 0 ? "x" : { x: nested(depth - 1) };
}

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== alice@example";
const credentials = {
  role: "reader",
  accessKeyId: "AKIA",
  secretAccessKey: "s3cret/+=",
  token: "t0ken",
  expiration: "2030-01-01T00:00:00Z",
};

describe("what is right is kept as it is written", () => {
  test.each<[string, unknown]>([
    ["nothing", {}],
    [
      "an instance",
      { instanceId: "i-1", hostname: "Web-1.example", instanceType: "m1.small", imageId: "ami-1" },
    ],
    ["a place", { availabilityZone: "zone 1", region: "zone" }],
    ["keys in a list", { publicKeys: [key] }],
    ["keys by name", { publicKeys: { "alice@example": key } }],
    ["no keys", { publicKeys: [] }],
    ["user data", { userData: "#!/bin/sh\necho \u00e9\n" }],
    ["binary user data", { userData: { base64: "AP+A" } }],
    ["tags", { tags: { stage: "a b" } }],
    ["credentials", { credentials }],
    ["a network", { network: { subnet: "10.0.1.0/24", mtu: 1500, nameservers: ["10.0.0.2"] } }],
    [
      "more in EC2's form",
      { ec2: { "meta-data": { a: [1, null, { b: true }], "ami-id": null }, dynamic: {} } },
    ],
    ["more in OpenStack's form", { openstack: { "vendor_data.json": { "cloud-init": "#cloud-config" } } }],
    ["maps in maps", { ec2: { "meta-data": nested(MAX_DEPTH - 2) } }],
    ["user data as large as may be", { userData: "x".repeat(MAX_USER_DATA) }],
    ["it in base64", { userData: { base64: Buffer.alloc(MAX_USER_DATA).toString("base64") } }],
  ])("%s", (_, input) => {
    expect(guestMetadataSchema.parse(input)).toEqual(input);
  });

  test("names such as __proto__ stay names", () => {
    const input = JSON.parse('{"ec2": {"meta-data": {"__proto__": {"polluted": 1}}}}');
    expect(JSON.stringify(guestMetadataSchema.parse(input))).toBe(JSON.stringify(input));
  });
});

describe("what is wrong is said, with its place", () => {
  const list: unknown[] = [];
  list.push(list);
  const laugh = Array.from({ length: 12 }).reduce<unknown>((inner) => Array(10).fill(inner), "ha");

  test.each<[string, unknown, string]>([
    ["no map", "web", ': "web" is not a map'],
    ["an unknown field", { hostName: "web" }, 'hostName: unknown field "hostName"; did you mean "hostname"?'],
    ["a host name with a slash", { hostname: "a/b" }, 'hostname: "a/b" is not a host name'],
    ["an instance id with a space", { instanceId: "a b" }, "instanceId: "],
    ["a zone in two lines", { availabilityZone: "a\nb" }, "availabilityZone: "],
    ["a key in two lines", { publicKeys: [`${key}\nssh-rsa AAAA`] }, "publicKeys: "],
    ["a key's name with =", { publicKeys: { "a=b": key } }, "publicKeys: "],
    ["no key", { publicKeys: ["AAAA"] }, "publicKeys: "],
    ["a tag that is a number", { tags: { stage: 1 } }, "tags: "],
    ["a tag with a slash", { tags: { "a/b": "1" } }, "tags: "],
    [
      "user data that is too long",
      { userData: "x".repeat(MAX_USER_DATA + 1) },
      "userData: longer than 65536 bytes",
    ],
    [
      "it in base64",
      { userData: { base64: Buffer.alloc(MAX_USER_DATA + 1).toString("base64") } },
      "userData: longer",
    ],
    ["base64 that is none", { userData: { base64: "AP-A" } }, "userData: base64 is not base64"],
    ["user data of another kind", { userData: { hex: "00" } }, "userData: not user data"],
    [
      "a time that is none",
      { credentials: { ...credentials, expiration: "tomorrow" } },
      "credentials.expiration: ",
    ],
    ["a role in a path", { credentials: { ...credentials, role: "a/b" } }, "credentials.role: "],
    ["a subnet with host bits", { network: { subnet: "10.0.1.3/24" } }, "network.subnet: "],
    ["an MTU that is too small", { network: { mtu: 67 } }, "network.mtu: "],
    ["a slash in a name", { ec2: { "meta-data": { "a/b": 1 } } }, "ec2.meta-data: "],
    ["dots for a name", { ec2: { dynamic: { "..": 1 } } }, "ec2.dynamic: "],
    ["an empty name", { openstack: { "meta_data.json": { a: [{ "": 1 }] } } }, "openstack.meta_data.json: "],
    ["what JSON cannot hold", { ec2: { dynamic: { x: Number.NaN } } }, "ec2.dynamic: "],
    [
      "another file",
      { openstack: { "password.json": {} } },
      'openstack.password.json: unknown field "password.json"',
    ],
    ["too many maps in maps", { ec2: { "meta-data": nested(MAX_DEPTH) } }, ": more than"],
    ["too much of it", { tags: { a: "x".repeat(MAX_DOCUMENT_LENGTH) } }, ": more than"],
    ["a list that holds itself", { ec2: { dynamic: { list } } }, ": more than"],
    ["a list that unfolds without end", { ec2: { dynamic: { laugh } } }, ": more than"],
  ])("%s", (_, input, fault) => {
    expect(faultsOf(input)).toEqual([expect.stringContaining(fault)]);
  });

  test("secrets are not quoted", () => {
    const wrong = {
      role: "r",
      accessKeyId: "hush 1",
      secretAccessKey: "hush 2",
      token: ["hush 3"],
      expiration: "x",
    };
    const faults = [
      ...faultsOf({ credentials: wrong }),
      ...faultsOf({ userData: ["hush"] }),
      ...faultsOf({ userData: { base64: "hush!" } }),
    ];
    expect(faults).toHaveLength(6);
    expect(faults.join("\n")).not.toContain("hush");
  });

  test("nothing of it makes the check fail", () => {
    fc.assert(fc.property(fc.anything({ withNullPrototype: true }), (input) => void faultsOf(input)));
    fc.assert(fc.property(fc.anything(), (ec2) => void faultsOf({ ec2: { "meta-data": ec2 }, tags: ec2 })));
  });
});
