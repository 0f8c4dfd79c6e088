/**
 * DHCP's classless static routes (RFC 3442): option 121, and Microsoft's 249, which has the same form. Each route is the length of
 * its prefix, those octets of the prefix that the length covers, and the router.
 */
import { ipv4FromBytes, ipv4FromUint32, ipv4ToBytes, ipv4ToUint32, parsePrefix } from "../packet/address.ts";
import { concatBytes } from "../packet/bytes.ts";

/** One route of the option. */
export interface ClasslessRoute {
  /** `"169.254.169.254/32"`; `"0.0.0.0/0"` is the default route. */
  destination: string;
  /** The router. 0.0.0.0: the destination is on the client's own link (RFC 3442, "Local Subnet Routes"). */
  gateway: string;
}

/** What `decodeClasslessRoutes` gives. */
export type DecodedRoutes = { ok: true; routes: ClasslessRoute[] } | { ok: false; message: string };

/** How many octets of a prefix are written: those that hold some of its bits. */
function significantOctets(length: number): number {
  return Math.ceil(length / 8);
}

/** The content of the option, without its code and length. Throws RangeError when a prefix or an address is wrong. */
export function encodeClasslessRoutes(routes: readonly ClasslessRoute[]): Uint8Array {
  return concatBytes(...routes.map(encodeRoute));
}

function encodeRoute({ destination, gateway }: ClasslessRoute): Uint8Array {
  const prefix = parsePrefix(destination);
  if (!prefix.ok) throw new RangeError(prefix.error.message);
  const { address, length } = prefix.value;
  const octets = ipv4ToBytes(ipv4FromUint32(address)).subarray(0, significantOctets(length));
  return concatBytes(Uint8Array.of(length), octets, ipv4ToBytes(gateway));
}

/**
 * Reads the content of the option. Bits beyond a prefix's length are taken as zero: RFC 3442 asks the client to mask them, since a
 * server may send them.
 */
export function decodeClasslessRoutes(bytes: Uint8Array): DecodedRoutes {
  const routes: ClasslessRoute[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at]!;
    if (length > 32)
      return { ok: false, message: `the prefix length at octet ${at} is ${length}, more than 32` };
    const octets = significantOctets(length);
    const end = at + 1 + octets + 4;
    if (end > bytes.length)
      return {
        ok: false,
        message: `the route at octet ${at} needs ${end - at} octets, ${bytes.length - at} are left`,
      };
    const padded = new Uint8Array(4);
    padded.set(bytes.subarray(at + 1, at + 1 + octets));
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    const address = ipv4FromUint32((ipv4ToUint32(ipv4FromBytes(padded)) & mask) >>> 0);
    routes.push({ destination: `${address}/${length}`, gateway: ipv4FromBytes(bytes, end - 4) });
    at = end;
  }
  return { ok: true, routes };
}
