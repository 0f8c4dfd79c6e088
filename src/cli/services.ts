import { fetchServices } from "../api/client.ts";
import type { StatusBody } from "../api/status.ts";
import { askAgent, type WhichAgent } from "./agent-socket.ts";
import { EXIT } from "./exit-codes.ts";
import { type Paint, paintFor } from "./paint.ts";
import { formatTable } from "./table.ts";
import { formatBytes, formatCount } from "./units.ts";

type Service = StatusBody["services"][number];
type Backend = Service["backends"][number];

/** `onlink services`: the services, and how their backends stand. */
export async function services(options: WhichAgent & { json?: boolean }): Promise<number> {
  const body = await askAgent("services", options, fetchServices);
  process.stdout.write(
    options.json
      ? `${JSON.stringify(body.services, null, 2)}\n`
      : formatServices(body.services, paintFor(process.stdout)),
  );
  return EXIT.ok;
}

/** A line for each backend; flows (all that guests have opened) and bytes are those of the service. */
export function formatServices(list: readonly Service[], paint: Paint): string {
  const rows = list.flatMap((service) => {
    const { name, address, port, protocols, backends, traffic } = service;
    const counts = [formatCount(traffic.flows), formatBytes(traffic.bytesOut), formatBytes(traffic.bytesIn)];
    const about = [name, address, String(port), protocols.join(","), ...counts];
    if (backends.length === 0) return [[...about, "-", paint.bad("no backend")]];
    return backends.map((backend, index) => [
      ...about.map((text) => (index === 0 ? text : "")),
      backendPlace(backend),
      backendState(backend, paint),
    ]);
  });
  return formatTable(
    ["SERVICE", "ADDRESS", "PORT", "PROTOCOL", "FLOWS", "OUT", "IN", "BACKEND", "STATE"],
    rows,
    { right: ["FLOWS", "OUT", "IN"], paint },
  );
}

/** `10.0.0.2:53`, or `ns1.fabric.example:53 (10.0.0.2)`; without the address as long as the name leads nowhere. */
function backendPlace({ name, address, port }: Backend): string {
  if (name === undefined) return `${address}:${port}`;
  return `${name}:${port}${address === undefined ? "" : ` (${address})`}`;
}

function backendState(backend: Backend, paint: Paint): string {
  if (backend.state === "out of use") return paint.bad(`out of use: ${backend.reason}`);
  const way =
    backend.kind === "host-local" ? "host-local" : `fabric by ${backend.interface} from ${backend.source}`;
  const { error } = backend.health ?? {};
  return `in use, ${way}${error === undefined ? "" : `; ${paint.bad(`last check failed: ${error}`)}`}`;
}
