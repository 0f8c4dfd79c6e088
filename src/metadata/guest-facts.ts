import { createHash } from "node:crypto";
import type { GuestMetadata } from "../config/guest-metadata.ts";
import type { GuestIdentity } from "./types.ts";

/** What the EC2 and the OpenStack form both say about a guest. */
export interface GuestFacts {
  instanceId: string;
  hostname: string;
  publicKeys: Array<{ name: string; key: string }>;
  userData?: Buffer;
}

/** The facts: what the operator says, else what follows from the interface. */
export function guestFacts(guest: GuestIdentity, metadata: GuestMetadata): GuestFacts {
  const instanceId = metadata.instanceId ?? guest.instanceId ?? derivedInstanceId(guest);
  const [address] = guest.addresses;
  return {
    instanceId,
    hostname: metadata.hostname ?? (address ? `ip-${address.replaceAll(".", "-")}` : instanceId),
    publicKeys: namedKeys(metadata.publicKeys ?? []),
    ...(metadata.userData !== undefined && { userData: bytesOf(metadata.userData) }),
  };
}

/** The same as long as interface and MAC are: a guest that sees another one takes itself for a new instance. */
function derivedInstanceId({ interface: name, mac }: GuestIdentity): string {
  const digest = createHash("sha256")
    .update(`${name}\0${mac ?? ""}`)
    .digest("hex");
  return `i-${digest.slice(0, 17)}`;
}

function namedKeys(keys: NonNullable<GuestMetadata["publicKeys"]>): GuestFacts["publicKeys"] {
  if (Array.isArray(keys)) return keys.map((key, index) => ({ name: `key-${index + 1}`, key }));
  return Object.entries(keys).map(([name, key]) => ({ name, key }));
}

function bytesOf(userData: NonNullable<GuestMetadata["userData"]>): Buffer {
  return typeof userData === "string" ? Buffer.from(userData) : Buffer.from(userData.base64, "base64");
}
