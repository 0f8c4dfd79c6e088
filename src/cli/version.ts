import { readFileSync } from "node:fs";

/** The version in package.json, which lies two folders above this file, built or not. */
export function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
