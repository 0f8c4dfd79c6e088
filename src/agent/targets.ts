import { isLoopback, isUnicast } from "../config/ranges.ts";
import type { Service } from "../config/schema.ts";
import { isInPrefix } from "../packet/address.ts";
import type { NameState } from "./names.ts";

/** A place where a service may run. */
export interface Endpoint {
  /** The name that leads there, where the configuration gives one. */
  name?: string;
  address: string;
  port: number;
}

/** A place where guests may be sent; one where they may not, with the reason; or a name that leads nowhere. */
export type Target =
  | (Endpoint & { refused?: undefined })
  | (Endpoint & { refused: string })
  | { name: string; address?: undefined; port: number; refused: string };

/** The backends of a service with the addresses that names have now, each place once. */
export function targetsOf(
  service: Pick<Service, "backends">,
  stateOf: (name: string) => NameState,
  refusal: (address: string) => string | undefined,
): Target[] {
  // The configuration gives no place twice: names alone may lead to one that it has.
  const addresses = service.backends.filter((backend) => "address" in backend);
  if (addresses.length === service.backends.length) return addresses;
  const places = new Map<string, Target>();
  for (const backend of service.backends) {
    if (!("name" in backend)) {
      places.set(`${backend.address}:${backend.port}`, backend);
      continue;
    }
    const { name, port } = backend;
    const { addresses, problem } = stateOf(name);
    if (addresses.length === 0)
      places.set(`${name}:${port}`, { name, port, refused: problem ?? "no address" });
    for (const address of addresses) {
      const place = `${address}:${port}`;
      const refused = refusal(address);
      if (!places.has(place))
        places.set(place, { name, address, port, ...(refused !== undefined && { refused }) });
    }
  }
  return [...places.values()];
}

/** The addresses that are onlink's own to give. */
export interface OwnAddresses {
  serviceAddresses: ReadonlySet<string>;
  /** A prefix: `agent.metadataAddresses`. */
  metadataAddresses: string;
}

/**
 * Why a name may not lead to an address, or undefined: the configuration refuses the same in a backend, and metadata addresses are
 * guests'. Loopback addresses that come from DNS are refused before (`resolver.ts`).
 */
export function refusalOf(address: string, own: OwnAddresses): string | undefined {
  if (own.serviceAddresses.has(address)) return "the name leads to a service address";
  if (isInPrefix(address, own.metadataAddresses))
    return "the name leads to a metadata address, which is a guest's";
  if (!isUnicast(address) && !isLoopback(address)) return "the name leads to an address that no host has";
  return undefined;
}
