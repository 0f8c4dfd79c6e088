import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Programs that a lab starts, and the Debian package that has each. */
const TOOLS: ReadonlyArray<readonly [program: string, debianPackage: string]> = [
  ["unshare", "util-linux"],
  ["nsenter", "util-linux"],
  ["mount", "mount"],
  ["ip", "iproute2"],
];

/** A PATH with the folders of system programs, which a plain `su` leaves out. */
export function labPath(path = process.env.PATH ?? ""): string {
  const folders = path.split(delimiter).filter((folder) => folder !== "");
  for (const folder of ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
    if (!folders.includes(folder)) folders.push(folder);
  return folders.join(delimiter);
}

function can(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

function isInstalled(program: string): boolean {
  return labPath()
    .split(delimiter)
    .some((folder) => can(join(folder, program), constants.X_OK));
}

/** Which of some programs (each with the Debian package that has it) are missing: a sentence with its mend for each. */
export function missingTools(
  tools: ReadonlyArray<readonly [program: string, debianPackage: string]>,
): string[] {
  return tools
    .filter(([program]) => !isInstalled(program))
    .map(([program, debianPackage]) => `${program} is not installed; run: apt-get install ${debianPackage}`);
}

/** Why no lab can be opened here, a sentence with its mend for each reason. Empty when one can. */
export function labProblems(): string[] {
  if (process.platform !== "linux") return [`a lab needs Linux, this is ${process.platform}`];
  const problems = missingTools(TOOLS);
  if (process.getuid?.() !== 0)
    problems.push("a lab needs root, to make network namespaces; run it with sudo");
  if (!can("/dev/net/tun", constants.R_OK | constants.W_OK))
    problems.push("/dev/net/tun cannot be opened, taps need it; as root run: modprobe tun");
  return problems;
}
