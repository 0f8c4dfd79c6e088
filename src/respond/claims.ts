/** Which MACs guests have claimed service addresses for, so that no guest passes for somebody on this host. */
import { GATEWAY_MAC } from "../packet/address.ts";

/** Claims that came in on any interface (row A3). */
export interface Claims {
  add(address: string, mac: string): void;
  has(address: string, mac: string): boolean;
}

/** No claims yet. Beyond `capacity` the oldest is forgotten. */
export function newClaims(capacity: number): Claims {
  const claims = new Set<string>();
  return {
    add(address, mac) {
      // The MAC of the kernel's datapath, which would otherwise not be given way to once a guest has used it.
      if (mac === GATEWAY_MAC) return;
      const claim = `${address} ${mac}`;
      claims.delete(claim);
      claims.add(claim);
      if (claims.size <= capacity) return;
      const [oldest = ""] = claims;
      claims.delete(oldest);
    },
    has: (address, mac) => claims.has(`${address} ${mac}`),
  };
}
