import type { GuestMetadata, JsonObject } from "../config/guest-metadata.ts";
import { ipv4FromUint32, isInPrefix, parsePrefix } from "../packet/address.ts";
import { textAnswer } from "./answer.ts";
import type { GuestFacts } from "./guest-facts.ts";
import { given, mergePatch } from "./json.ts";
import { jsonAnswer } from "./tree.ts";
import type { GuestIdentity, MetadataResponse } from "./types.ts";

/*
 * A guest's metadata in the form of OpenStack: a few documents below /openstack/VERSION/.
 */

/**
 * Versions that clients ask for; each has the same documents. 2013-04-04 is left out: to cloudbase-init it says that a Windows guest may
 * deposit its administrator's password here.
 */
export const OPENSTACK_VERSIONS: ReadonlySet<string> = new Set([
  "2012-08-10",
  "2013-10-17",
  "2015-10-15",
  "2016-06-30",
  "2016-10-06",
  "2017-02-22",
  "2018-08-27",
  "2020-10-14",
  "latest",
]);

/** What is below /openstack/VERSION/ for one guest, by path. */
export function renderOpenStack(
  guest: GuestIdentity,
  facts: GuestFacts,
  metadata: GuestMetadata,
): Map<string, MetadataResponse> {
  const documents = openStackDocuments(guest, facts, metadata);
  const answers = new Map(Object.entries(documents).map(([name, value]) => [name, jsonAnswer(value)]));
  if (facts.userData !== undefined) {
    const headers: MetadataResponse["headers"] = [["Content-Type", "application/octet-stream"]];
    answers.set("user_data", { status: 200, headers, body: facts.userData });
  }
  answers.set("", textAnswer(200, [...answers.keys()].join("\n")));
  return answers;
}

/** The documents in JSON: what follows from interface and metadata, and what the operator gives in OpenStack's form over it. */
export function openStackDocuments(
  guest: GuestIdentity,
  facts: GuestFacts,
  metadata: GuestMetadata,
): JsonObject {
  const { publicKeys } = facts;
  const own: JsonObject = given({
    "meta_data.json": given({
      uuid: facts.instanceId,
      name: facts.hostname,
      hostname: facts.hostname,
      launch_index: 0,
      project_id: guest.projectId,
      availability_zone: metadata.availabilityZone,
      meta: metadata.tags,
      ...(publicKeys.length > 0 && {
        public_keys: Object.fromEntries(publicKeys.map(({ name, key }) => [name, key])),
        keys: publicKeys.map(({ name, key }) => ({ name, type: "ssh", data: key })),
      }),
    }),
    "network_data.json": networkData(guest, metadata),
    "vendor_data.json": {},
    "vendor_data2.json": {},
  });
  return mergePatch(own, given({ ...metadata.openstack })) as JsonObject;
}

/**
 * How the guest is to set up its network; undefined where its MAC is not known: guests then do as without such a document, while one that
 * is empty has them set up nothing. Addresses and routes are given where all of them are known, else the guest is to ask DHCP.
 */
function networkData(
  { addresses, mac, gateway }: GuestIdentity,
  { network = {} }: GuestMetadata,
): JsonObject | undefined {
  if (mac === undefined) return undefined;
  const { subnet, mtu, nameservers = [] } = network;
  const link = given({ id: "interface0", type: "phy", ethernet_mac_address: mac, mtu });
  const services = nameservers.map((address) => ({ type: "dns", address }));
  const within = subnet === undefined ? [] : addresses.filter((address) => isInPrefix(address, subnet));
  const isStatic = subnet !== undefined && gateway !== undefined && within.length > 0;
  const networks = isStatic
    ? within.map((address, index) => ({
        id: `network${index}`,
        network_id: `network${index}`,
        link: "interface0",
        type: "ipv4",
        ip_address: address,
        netmask: netmaskOf(subnet),
        // One default route is enough.
        routes: index === 0 ? [{ network: "0.0.0.0", netmask: "0.0.0.0", gateway: gateway.address }] : [],
      }))
    : [{ id: "network0", network_id: "network0", link: "interface0", type: "ipv4_dhcp" }];
  return { links: [link], networks, services };
}

/** The mask of a valid prefix, as an address. */
function netmaskOf(prefix: string): string {
  const parsed = parsePrefix(prefix);
  if (!parsed.ok) throw new RangeError(parsed.error.message);
  return ipv4FromUint32((0xffff_ffff << (32 - parsed.value.length)) >>> 0);
}
