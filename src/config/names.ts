/** Longest name of a network interface in bytes: IFNAMSIZ less the closing zero. */
export const MAX_INTERFACE_NAME = 15;

/**
 * Whether `name` can be looked up in DNS as the name of a host: labels of letters, digits, hyphens and underscores, at most 63 characters
 * each and 253 in all (RFC 1123 s. 2.1). The last one is not a number, else a mistyped address would be a name.
 */
export function isHostName(name: string): boolean {
  return (
    name.length <= 253 &&
    name.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label)) &&
    !/(^|\.)\d+$/.test(name)
  );
}

/** Whether Linux takes `name` as the name of an interface (dev_valid_name in net/core/dev.c). */
export function isInterfaceName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && fitsInterfaceName(name);
}

/** Whether `name` is a pattern (`*` any text, `?` one character) rather than the name of one interface. */
export function isPattern(name: string): boolean {
  return /[*?]/.test(name);
}

/** Whether `name` is a pattern that some interface could fit. */
export function isInterfacePattern(name: string): boolean {
  return isPattern(name) && fitsInterfaceName(name.replaceAll("*", ""));
}

/** `lo` is there already; /proc/sys/net/ipv4/conf has settings of these names that are not those of an interface. */
const NO_DEVICE_NAMES: ReadonlySet<string> = new Set(["lo", "all", "default"]);

/**
 * Whether the agent can make its veth pair under this name: the peer's name must fit too, and the kernel takes a percent
 * sign in the name of a new device as the place for a number (dev_alloc_name).
 */
export function isDeviceName(name: string): boolean {
  return (
    isInterfaceName(name) &&
    isInterfaceName(devicePeer(name)) &&
    !isPattern(name) &&
    !name.includes("%") &&
    !NO_DEVICE_NAMES.has(name)
  );
}

/** The other end of the veth pair whose host's end is `device`. */
export function devicePeer(device: string): string {
  return `${device}p`;
}

function fitsInterfaceName(text: string): boolean {
  return Buffer.byteLength(text) <= MAX_INTERFACE_NAME && !/[\0\s/:]/.test(text);
}
