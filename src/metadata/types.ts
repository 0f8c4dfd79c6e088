import type { GuestMetadata } from "../config/guest-metadata.ts";

/*
 * What the parts of the metadata service hand each other. No state and no I/O here, and nothing of the agent: the agent
 * imports these types, not the other way.
 */

/** A request as the front has parsed it. It comes from a guest: nothing in it says who asks. */
export interface MetadataRequest {
  /** GET, HEAD, POST, PUT or DELETE. */
  method: string;
  /** The path of the request's target as it was sent, from its slash on: percent-encoded, without dot segments. */
  path: string;
  /** The names in the path, as `normalizePath` gives them. */
  names: string | undefined;
  /** What follows the first question mark; empty when there is none. */
  query: string;
  /** Header fields by name in lower case; the values of a repeated one joined with ", " (RFC 9110 s. 5.3). */
  headers: ReadonlyMap<string, string>;
  /** The whole body where it is small enough to be kept, as for the builtin store; else empty, and streamed by the front. */
  body: Uint8Array;
}

/** An answer as a handler gives it. The front adds Content-Length, Date and Connection, and leaves out the body where there is none. */
export interface MetadataResponse {
  status: number;
  headers: Array<[name: string, value: string]>;
  /** Text is sent as UTF-8. */
  body: Uint8Array | string;
}

/** Who asks: the guest behind the vif that a request came through, as the host knows it. */
export interface GuestIdentity {
  /** The name of the vif. */
  interface: string;
  /** Its ifindex: another one when an interface of the same name is made anew, until the host is started again. */
  ifindex?: number | undefined;
  metadataAddress: string;
  /** UUIDs in lower case. */
  instanceId?: string | undefined;
  projectId?: string | undefined;
  /** The guest's own addresses, the first one first. Tenants may use the same ones. */
  addresses: readonly string[];
  mac?: string | undefined;
  gateway?: { address: string; answerArp: boolean } | undefined;
  /** What the configuration, or a registration, says about the guest for the builtin store. */
  metadata?: GuestMetadata | undefined;
  /** Whether this guest must bring a token (IMDSv2), where its interface says so; else the service's `requireToken` holds. */
  requireToken?: boolean | undefined;
}
