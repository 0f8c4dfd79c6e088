/**
 * Kernel settings under /proc/sys. A setting is named by the parts of its path, `["net", "ipv4", "conf", "eth0.5",
 * "route_localnet"]`, since interface names may hold dots. Those under net/ are the calling thread's network namespace's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Reads a setting, without the line end. Undefined when this kernel, or this interface, does not have it. */
export function readSysctl(path: readonly string[]): string | undefined {
  try {
    return readFileSync(file(path), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      return undefined;
    }
    throw new Error(`cannot read the kernel setting ${path.join("/")}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Writes a setting. */
export function writeSysctl(path: readonly string[], value: string): void {
  try {
    writeFileSync(file(path), value);
  } catch (error) {
    throw new Error(
      `cannot set the kernel setting ${path.join("/")} to ${value}: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

function file(path: readonly string[]): string {
  for (const part of path) {
    if (part === "" || part === "." || part === ".." || part.includes("/")) {
      throw new Error(`"${part}" cannot be part of a kernel setting's name (${path.join(" ")})`);
    }
  }
  return join("/proc/sys", ...path);
}
