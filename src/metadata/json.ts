import type { Json, JsonObject } from "../config/guest-metadata.ts";

/**
 * `target` with a JSON merge patch applied (RFC 7396 s. 2): maps are merged, null takes a name away, all else replaces. Makes new maps and
 * changes none. Both lie in few maps only (`findSizeFault`): it goes as deep as they do.
 */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  // A map and not an object: names such as __proto__ are names like others.
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}

/** Whether the value is a map, neither a list nor null. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields that have a value. */
export function given(fields: { [name: string]: Json | undefined }): JsonObject {
  const hasValue = (field: [string, Json | undefined]): field is [string, Json] => field[1] !== undefined;
  return Object.fromEntries(Object.entries(fields).filter(hasValue));
}
