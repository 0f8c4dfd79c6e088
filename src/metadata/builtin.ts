import type { GuestMetadata } from "../config/guest-metadata.ts";
import { textAnswer } from "./answer.ts";
import { EC2_VERSIONS, ec2Tree, renderEc2 } from "./ec2.ts";
import { guestFacts } from "./guest-facts.ts";
import { OPENSTACK_VERSIONS, renderOpenStack } from "./openstack.ts";
import { acceptsJson, type TreeEntry, treeEntry } from "./tree.ts";
import type { GuestIdentity, MetadataRequest, MetadataResponse } from "./types.ts";

/** What the operator says about guests, and how to notice that it has changed. */
export interface GuestMetadataSource {
  /** Another number after each change. */
  version(): number;
  /** What is said about a guest, and the same object as long as that does not change; undefined when nothing is. */
  of(guest: GuestIdentity): GuestMetadata | undefined;
}

/** All answers for one guest, by path below the version. */
interface Site {
  /** At the root: the versions, or the whole tree as JSON. */
  root: TreeEntry;
  ec2: Map<string, TreeEntry>;
  openstack: Map<string, MetadataResponse>;
}

const NOTHING: GuestMetadata = {};

const NOT_FOUND = textAnswer(404, "not found\n");
const READ_ONLY = textAnswer(405, "only GET and HEAD\n", [["Allow", "GET, HEAD"]]);
const EC2_LISTING = [...EC2_VERSIONS].join("\n");
const OPENSTACK_LISTING = textAnswer(200, [...OPENSTACK_VERSIONS].join("\n"));

/**
 * Serves guests' metadata in the forms of EC2 and OpenStack, each guest its own and nothing else. A guest's answers are made at its first
 * request and kept with its identity, as long as that object lives and its metadata stays; they are shared, so the front must not change
 * them.
 */
export function createBuiltin(
  source: GuestMetadataSource,
): (request: MetadataRequest, guest: GuestIdentity) => MetadataResponse {
  const sites = new WeakMap<GuestIdentity, { version: number; metadata: GuestMetadata; site: Site }>();

  function siteOf(guest: GuestIdentity): Site {
    const version = source.version();
    const known = sites.get(guest);
    if (known?.version === version) return known.site;
    const metadata = source.of(guest) ?? NOTHING;
    const site = known?.metadata === metadata ? known.site : renderSite(guest, metadata);
    sites.set(guest, { version, metadata, site });
    return site;
  }

  return (request, guest) => {
    if (request.method !== "GET" && request.method !== "HEAD") return READ_ONLY;
    return find(siteOf(guest), request) ?? NOT_FOUND;
  };
}

function renderSite(guest: GuestIdentity, metadata: GuestMetadata): Site {
  const facts = guestFacts(guest, metadata);
  const tree = ec2Tree(guest, facts, metadata);
  return {
    root: treeEntry(EC2_LISTING, { latest: tree }),
    ec2: renderEc2(tree, facts),
    openstack: renderOpenStack(guest, facts, metadata),
  };
}

function find(
  { root, ec2, openstack }: Site,
  { names, headers }: MetadataRequest,
): MetadataResponse | undefined {
  if (names === undefined) return undefined;
  const [first, rest] = splitFirst(names);
  if (first === "openstack") {
    const [version, file] = splitFirst(rest);
    if (version === "") return OPENSTACK_LISTING;
    return OPENSTACK_VERSIONS.has(version) ? openstack.get(file) : undefined;
  }
  if (first !== "" && !EC2_VERSIONS.has(first)) return undefined;
  const entry = first === "" ? root : ec2.get(rest);
  return acceptsJson(headers.get("accept")) ? entry?.asJson() : entry?.asText;
}

/** The first name of a path and the rest. */
function splitFirst(path: string): [first: string, rest: string] {
  const slash = path.indexOf("/");
  return slash < 0 ? [path, ""] : [path.slice(0, slash), path.slice(slash + 1)];
}
