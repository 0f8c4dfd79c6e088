import { isInterfaceName, isPattern } from "../config/names.ts";

/** What a key is, for errors. */
export const GUEST_KEY = "the name of an interface or the UUID of an instance";

/**
 * The key under which something is said about a guest: the name of its interface, or its instance id, which no interface has for a name.
 * Undefined where the text is neither.
 */
export function guestKey(text: string): string | undefined {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  return isInterfaceName(text) && !isPattern(text) ? text : undefined;
}
