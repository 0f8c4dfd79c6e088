import type { GuestMetadata, JsonObject } from "../config/guest-metadata.ts";
import type { GuestFacts } from "./guest-facts.ts";
import { given, mergePatch } from "./json.ts";
import { renderTree, type TreeEntry } from "./tree.ts";
import type { GuestIdentity } from "./types.ts";

/*
 * A guest's metadata in the form of EC2: a tree of short texts below /VERSION/meta-data/, /VERSION/dynamic/ and /VERSION/user-data.
 */

/**
 * Versions that clients ask for; each has the same tree. cloud-init looks for 2021-03-23, 2018-09-24 and 2016-09-02 and begins with
 * 2009-04-04, as cloudbase-init does; others have `latest` alone.
 */
export const EC2_VERSIONS: ReadonlySet<string> = new Set([
  "1.0",
  "2007-01-19",
  "2007-03-01",
  "2007-08-29",
  "2007-10-10",
  "2007-12-15",
  "2008-02-01",
  "2008-09-01",
  "2009-04-04",
  "2011-01-01",
  "2011-05-01",
  "2012-01-12",
  "2014-02-25",
  "2014-11-05",
  "2015-10-20",
  "2016-04-19",
  "2016-06-30",
  "2016-09-02",
  "2018-03-28",
  "2018-08-17",
  "2018-09-24",
  "2019-10-01",
  "2020-10-27",
  "2021-01-03",
  "2021-03-23",
  "2021-07-15",
  "2022-09-24",
  "2024-04-11",
  "latest",
]);

const CREDENTIALS = "meta-data/iam/security-credentials";
const PUBLIC_KEYS = "meta-data/public-keys";
const USER_DATA = "user-data";

/** What is below /VERSION/ for one guest, by path; `tree` is made by `ec2Tree`. */
export function renderEc2(tree: JsonObject, { publicKeys, userData }: GuestFacts): Map<string, TreeEntry> {
  const entries = renderTree(tree, {
    isDocument: (path) =>
      path === USER_DATA ||
      path === "dynamic/instance-identity/document" ||
      path === "meta-data/iam/info" ||
      path.startsWith(`${CREDENTIALS}/`),
    // What is below a key's number is a directory; its line in the listing has the key's name.
    listAs: (path, name) => {
      const key = path === PUBLIC_KEYS ? publicKeys[Number(name)] : undefined;
      return key && `${name}=${key.name}`;
    },
  });
  const entry = entries.get(USER_DATA);
  if (userData !== undefined && entry !== undefined) {
    const headers: TreeEntry["asText"]["headers"] = [["Content-Type", "application/octet-stream"]];
    entries.set(USER_DATA, { ...entry, asText: { status: 200, headers, body: userData } });
  }
  return entries;
}

/** The whole tree of one guest: what follows from its interface and its metadata, and what the operator gives in EC2's form over it. */
export function ec2Tree(guest: GuestIdentity, facts: GuestFacts, metadata: GuestMetadata): JsonObject {
  const { availabilityZone, region, instanceType, imageId, userData, ec2 } = metadata;
  const [address] = guest.addresses;
  const own: JsonObject = {
    dynamic: {
      "instance-identity": {
        document: given({
          availabilityZone,
          imageId,
          instanceId: facts.instanceId,
          instanceType,
          privateIp: address,
          region,
          version: "2017-09-30",
        }),
      },
    },
    "meta-data": given({
      "ami-id": imageId,
      "ami-launch-index": "0",
      hostname: facts.hostname,
      iam: credentialTree(metadata),
      "instance-id": facts.instanceId,
      "instance-type": instanceType,
      "local-hostname": facts.hostname,
      "local-ipv4": address,
      mac: guest.mac,
      network: networkTree(guest, facts, metadata),
      placement: placementTree(metadata),
      "public-keys": keyTree(facts),
      tags: metadata.tags && { instance: metadata.tags },
    }),
    ...(userData !== undefined && { [USER_DATA]: userData }),
  };
  return mergePatch(own, given({ ...ec2 })) as JsonObject;
}

function placementTree({ availabilityZone, region }: GuestMetadata): JsonObject | undefined {
  const placement = given({ "availability-zone": availabilityZone, region });
  return Object.keys(placement).length > 0 ? placement : undefined;
}

function credentialTree({ credentials }: GuestMetadata): JsonObject | undefined {
  if (credentials === undefined) return undefined;
  const { role, accessKeyId, secretAccessKey, token, expiration } = credentials;
  return {
    "security-credentials": {
      [role]: {
        Code: "Success",
        Type: "AWS-HMAC",
        AccessKeyId: accessKeyId,
        SecretAccessKey: secretAccessKey,
        Token: token,
        Expiration: expiration,
      },
    },
  };
}

function networkTree(
  { addresses, mac }: GuestIdentity,
  { hostname }: GuestFacts,
  { network }: GuestMetadata,
): JsonObject | undefined {
  if (mac === undefined) return undefined;
  const own = given({
    "device-number": "0",
    "local-hostname": hostname,
    "local-ipv4s": addresses.length > 0 ? addresses.join("\n") : undefined,
    mac,
    "subnet-ipv4-cidr-block": network?.subnet,
  });
  return { interfaces: { macs: { [mac]: own } } };
}

function keyTree({ publicKeys }: GuestFacts): JsonObject | undefined {
  if (publicKeys.length === 0) return undefined;
  return Object.fromEntries(publicKeys.map(({ key }, index) => [String(index), { "openssh-key": key }]));
}
