/** Linux' net-tools: `route -n`, `netstat -rn` and `arp -n`. */
import { type Fact, type Reader, rowReader } from "./reader.ts";
import { address, mac, maskLength, number, prefix, wordsOf } from "./values.ts";

/** `Destination Gateway Genmask Flags Metric Ref Use Iface`; gateway 0.0.0.0 is on-link, `!` in the flags refuses. */
function route(line: string): Fact | undefined {
  const [of, gatewayText, mask, flags, metricText, , , device, ...more] = wordsOf(line);
  const first = of === "default" ? "0.0.0.0" : address(of);
  const length = maskLength(mask);
  const refuses = /^!/.test(flags ?? "");
  const gateway = address(gatewayText);
  if (first === undefined || length === undefined || device === undefined || more.length > 0)
    return undefined;
  if (!refuses && (gateway === undefined || !/^U[A-Z]*$/.test(flags ?? ""))) return undefined;
  const metric = number(metricText);
  return {
    fact: "route",
    destination: prefix(first, length),
    ...(gateway === undefined || gateway === "0.0.0.0" ? {} : { gateway }),
    ...(device === "-" ? {} : { interface: device }),
    ...(metric === undefined ? {} : { metric }),
    ...(refuses ? { refuses: "unreachable" } : {}),
  };
}

/** `Address HWtype HWaddress Flags Mask Iface`; `(incomplete)` stands for type and MAC where there is none. */
function arp(line: string): Fact | undefined {
  const [of, type, ...rest] = wordsOf(line);
  const own = address(of);
  const device = rest.at(-1);
  if (own === undefined || device === undefined) return undefined;
  if (type === "(incomplete)" && rest.length === 1)
    return { fact: "neighbour", address: own, interface: device, state: "incomplete" };
  const known = mac(rest[0]);
  const flags = rest[1];
  if (type !== "ether" || known === undefined || rest.length < 3 || !/^[A-Z]+$/.test(flags ?? ""))
    return undefined;
  return {
    fact: "neighbour",
    address: own,
    mac: known,
    interface: device,
    ...(flags?.includes("M") ? { state: "permanent" } : {}),
  };
}

/** net-tools. */
export const netToolsReaders: readonly Reader[] = [rowReader("route-n", route), rowReader("arp-n", arp)];
