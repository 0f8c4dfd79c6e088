/*
 * The paths of requests, as EC2's metadata service takes them: slashes may be doubled, one may follow the last name, and any
 * character may be percent-encoded.
 */

/**
 * The names in a path, joined by single slashes and without one at the ends: `//latest/meta-data/` is `latest/meta-data`, and `/` is
 * empty. Undefined where the path is not percent-encoded text, or where a name itself holds a slash, which no name of ours does.
 */
export function normalizePath(path: string): string | undefined {
  const isPlain = !path.includes("%") && !path.includes("//");
  if (isPlain) return path.slice(path.startsWith("/") ? 1 : 0, path.endsWith("/") ? -1 : undefined);
  const names: string[] = [];
  for (const encoded of path.split("/")) {
    const name = decode(encoded);
    if (name === undefined || name.includes("/")) return undefined;
    if (name !== "") names.push(name);
  }
  return names.join("/");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
