/** PowerShell's tables: Get-NetRoute and Get-NetNeighbor. Their lists and JSON are read in objects.ts. */
import { type Fact, type Reader, rowReader } from "./reader.ts";
import { address, mac, number, prefixOf, windowsNeighbour, wordsOf } from "./values.ts";

/** `ifIndex DestinationPrefix NextHop RouteMetric [ifMetric] PolicyStore`; next hop 0.0.0.0 is on-link. */
function netRoute(line: string): Fact | undefined {
  const words = wordsOf(line);
  const [index, destinationText, nextHopText, ...rest] = words;
  const interfaceIndex = number(index);
  const destination = destinationText?.includes("/") ? prefixOf(destinationText) : undefined;
  const nextHop = address(nextHopText);
  const metric = number(rest[0]);
  if (
    interfaceIndex === undefined ||
    destination === undefined ||
    nextHop === undefined ||
    metric === undefined
  )
    return undefined;
  const interfaceMetric = number(rest[1]);
  const store = rest.slice(interfaceMetric === undefined ? 1 : 2);
  if (store.length > 1 || /\d/.test(store[0] ?? "")) return undefined;
  return {
    fact: "route",
    destination,
    ...(nextHop === "0.0.0.0" ? {} : { gateway: nextHop }),
    interfaceIndex,
    metric,
    ...(interfaceMetric === undefined ? {} : { interfaceMetric }),
    ...(store[0]?.startsWith("Persistent") ? { persistent: true } : {}),
  };
}

/** `ifIndex IPAddress LinkLayerAddress State PolicyStore`; the MAC may be missing where nobody answered. */
function netNeighbor(line: string): Fact | undefined {
  const words = wordsOf(line);
  const interfaceIndex = number(words[0]);
  const of = address(words[1]);
  if (interfaceIndex === undefined || of === undefined) return undefined;
  const macText = mac(words[2]) === undefined ? undefined : words[2];
  const [state, store, ...more] = words.slice(macText === undefined ? 2 : 3);
  if (state === undefined || /\d/.test(`${state}${store ?? ""}`) || more.length > 0) return undefined;
  return { fact: "neighbour", address: of, interfaceIndex, ...windowsNeighbour(macText, state) };
}

/** PowerShell's tables. */
export const powershellReaders: readonly Reader[] = [
  rowReader("get-net-route", netRoute),
  rowReader("get-net-neighbor", netNeighbor),
];
