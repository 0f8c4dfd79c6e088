import { firstBroken } from "../agent/why.ts";
import { fetchWhy } from "../api/client.ts";
import type { WhyBody } from "../api/why.ts";
import { isIpv4 } from "../packet/address.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { CommandError } from "./config.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, paintFor } from "./paint.ts";
import { formatAge } from "./units.ts";

/** `onlink why`: the links between a guest and a service, and the first that is broken. Its exit status says whether one is. */
export async function why(
  guest: string,
  to: string | undefined,
  options: WhichAgent & { json?: boolean },
): Promise<number> {
  const target = to === undefined ? {} : parseTarget(to);
  const asked = (socket: string) => fetchWhy(socket, { guest, ...target });
  // 1 says that a link is broken.
  const body = await askAgent("why", options, asked, () => EXIT.badInput);
  process.stdout.write(
    options.json ? `${JSON.stringify(body, null, 2)}\n` : formatWhy(body, paintFor(process.stdout)),
  );
  return firstBroken(body.links) === undefined ? EXIT.ok : EXIT.failed;
}

/** `ADDRESS` or `ADDRESS:PORT`. Throws `CommandError`. */
export function parseTarget(text: string): { address: string; port?: number } {
  const [, address = "", digits] = /^([^:]+)(?::([1-9]\d{0,4}))?$/.exec(text) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (!isIpv4(address) || (port ?? 0) > 65_535) {
    throw new CommandError(
      `${JSON.stringify(text)} is no service address; expected one like 169.254.169.254 or 169.254.169.254:80`,
      EXIT.badInput,
    );
  }
  return { address, ...(port !== undefined && { port }) };
}

/** The answer for people: a line for each link, then what is broken and the mend. */
export function formatWhy({ interface: name, addresses, to, links }: WhyBody, paint: Paint): string {
  const target = to.port === undefined ? to.address : `${to.address}:${to.port}`;
  const who = addresses.length === 0 ? name : `${name} (${addresses.join(", ")})`;
  const width = Math.max(...links.map(({ link }) => link.length));
  const lines = links.map(({ link, state, says, age }) => {
    const word = state.padEnd(7);
    const painted = state === "broken" ? paint.bad(word) : state === "ok" ? paint.good(word) : word;
    return `  ${painted}  ${link.padEnd(width)}  ${says}${age === undefined ? "" : `, ${formatAge(age)} ago`}\n`;
  });
  const broken = firstBroken(links);
  const verdict =
    broken === undefined
      ? "As far as this host has seen, nothing is broken.\n"
      : `${paint.bad(`${broken.link}: ${broken.says}`)}\nMend: ${broken.mend}\n`;
  return `${who} to ${target}\n\n${lines.join("")}\n${verdict}`;
}
