/**
 * The workaround by hand, for guests on hosts without onlink: a host route to each service address through the gateway, which is
 * more specific than any 169.254.0.0/16 that a stack keeps on-link, so the guest sends the packets to the gateway. Text to paste or
 * to include; nothing is run here.
 */
import { isInPrefix, isIpv4, LINK_LOCAL_PREFIX } from "../packet/address.ts";
import { toHex } from "../packet/hex.ts";
import { type ClasslessRoute, encodeClasslessRoutes } from "./classless-routes.ts";

/** Where the workaround can be put: a guest's system, or what gives guests their routes. */
export const WORKAROUND_TARGETS = [
  "windows",
  "powershell",
  "linux",
  "netplan",
  "networkd",
  "networkmanager",
  "dhcp",
  "cni",
  "docker",
] as const;

/** One of `WORKAROUND_TARGETS`. */
export type WorkaroundTarget = (typeof WORKAROUND_TARGETS)[number];

/** What a workaround is asked for. */
export interface WorkaroundRequest {
  /** Service addresses; link-local ones, at least one. */
  to: readonly string[];
  /** The guest's gateway, which must know what to do with such packets. */
  gateway: string;
  target: WorkaroundTarget;
  /**
   * The guest's interface: a name, or for `windows` the number that `route print` lists. Needed for netplan, networkd and
   * networkmanager; the others find it by the gateway.
   */
  interface?: string;
}

/** One piece of a workaround. */
export interface WorkaroundPart {
  /**
   * What it is for. `now`: lasts until the next start; `lasting`: kept over it; `undo`: takes it back; the others: lines for a DHCP
   * server of that name, or the bytes of the option.
   */
  use: "now" | "lasting" | "undo" | "hex" | "dnsmasq" | "kea" | "isc-dhcpd";
  /** What to know about it, a line each: where it goes, what to run then. */
  notes: string[];
  /** Commands or lines of a file, to be taken as they are. */
  lines: string[];
}

/** The workaround in pieces. Throws RangeError, whose message names the mend, when the request is wrong. */
export function workaround(request: WorkaroundRequest): WorkaroundPart[] {
  checkRequest(request);
  return WRITERS[request.target]({ ...request, to: [...new Set(request.to)] });
}

/** The pieces as text: notes as comments of the target's own language, so that a piece may be taken with them. */
export function formatWorkaround(target: WorkaroundTarget, parts: readonly WorkaroundPart[]): string {
  const comment = target === "windows" ? "rem" : "#";
  return parts
    .map(({ notes, lines }) => [...notes.map((note) => `${comment} ${note}`), ...lines])
    .map((lines) => lines.map((line) => `${line}\n`).join(""))
    .join("\n");
}

type Writer = (request: WorkaroundRequest) => WorkaroundPart[];

const WRITERS: Record<WorkaroundTarget, Writer> = {
  windows: forWindows,
  powershell: forPowershell,
  linux: forLinux,
  netplan: forNetplan,
  networkd: forNetworkd,
  networkmanager: forNetworkManager,
  dhcp: forDhcp,
  cni: forCni,
  docker: forDocker,
};

/** Targets whose configuration is kept by interface. */
const NEEDS_INTERFACE: readonly WorkaroundTarget[] = ["netplan", "networkd", "networkmanager"];

function checkRequest({ to, gateway, target, interface: name }: WorkaroundRequest): void {
  if (to.length === 0) throw new RangeError("no service address is given; give one, such as 169.254.169.254");
  for (const address of to) {
    if (!isIpv4(address))
      throw new RangeError(
        `"${address}" is not an IPv4 address; give a service address, such as 169.254.169.254`,
      );
    if (!isInPrefix(address, LINK_LOCAL_PREFIX))
      throw new RangeError(
        `${address} is not in ${LINK_LOCAL_PREFIX}: guests send to it through their gateway already; leave it out`,
      );
  }
  if (!isIpv4(gateway))
    throw new RangeError(`"${gateway}" is not an IPv4 address; give the guest's gateway, such as 10.0.1.1`);
  if (to.includes(gateway))
    throw new RangeError(`${gateway} cannot be its own gateway; give the gateway of the guest's network`);
  if (name === undefined) {
    if (NEEDS_INTERFACE.includes(target))
      throw new RangeError(`${target} keeps routes by interface: give the guest's (--interface eth0)`);
    return;
  }
  if (target === "dhcp" || target === "cni" || target === "docker")
    throw new RangeError(`${target} takes no interface: the route goes where the gateway is; leave it out`);
  if (target === "windows" && !/^[1-9]\d*$/.test(name))
    throw new RangeError(
      `"${name}" is not an interface number; give the one that "route print" lists first, or take powershell, which takes names`,
    );
  // Names go into commands and files as they are; Windows' may hold anything, and are quoted.
  if (target !== "powershell" && !/^[\w.:@-]{1,15}$/.test(name))
    throw new RangeError(`"${name}" is no name of a Linux interface; "ip link" lists them, such as eth0`);
  if (target === "powershell" && !/^[^\p{Cc}]+$/u.test(name))
    throw new RangeError(
      `${JSON.stringify(name)} is no interface alias; Get-NetAdapter lists them, such as Ethernet`,
    );
}

// route: https://learn.microsoft.com/windows-server/administration/windows-commands/route_ws2008
function forWindows({ to, gateway, interface: number }: WorkaroundRequest): WorkaroundPart[] {
  const at = number === undefined ? "" : ` if ${number}`;
  const route = (address: string) => `${address} mask 255.255.255.255 ${gateway}`;
  return [
    {
      use: "now",
      notes: ["As administrator. Until the next start:"],
      lines: to.map((address) => `route add ${route(address)}${at}`),
    },
    {
      use: "lasting",
      notes: [
        "Or for good. Not in an image that will start in another subnet: the route is kept, and its gateway is not there.",
      ],
      lines: to.map((address) => `route -p add ${route(address)}${at}`),
    },
    { use: "undo", notes: ["Undo, of both:"], lines: to.map((address) => `route delete ${route(address)}`) },
  ];
}

// New-NetRoute, Remove-NetRoute, Find-NetRoute: https://learn.microsoft.com/powershell/module/nettcpip/
function forPowershell({ to, gateway, interface: alias }: WorkaroundRequest): WorkaroundPart[] {
  const at =
    alias === undefined
      ? `-InterfaceIndex (Find-NetRoute -RemoteIPAddress "${gateway}")[0].InterfaceIndex`
      : `-InterfaceAlias ${quotePowershell(alias)}`;
  const route = (address: string) => `-DestinationPrefix "${address}/32" -NextHop "${gateway}"`;
  return [
    {
      use: "now",
      notes: ["As administrator. Until the next start:"],
      lines: to.map((address) => `New-NetRoute ${route(address)} ${at} -PolicyStore ActiveStore`),
    },
    {
      use: "lasting",
      notes: [
        "Or for good: without -PolicyStore a route is active at once, and saved. Not in an image that will start in another",
        "subnet: the route is kept, and its gateway is not there.",
      ],
      lines: to.map((address) => `New-NetRoute ${route(address)} ${at}`),
    },
    {
      use: "undo",
      notes: ["Undo, of both:"],
      lines: to.flatMap((address) =>
        ["ActiveStore", "PersistentStore"].map(
          (store) =>
            `Remove-NetRoute ${route(address)} -PolicyStore ${store} -Confirm:$false -ErrorAction SilentlyContinue`,
        ),
      ),
    },
  ];
}

/** In single quotes nothing but the quote itself is special (about_Quoting_Rules). */
function quotePowershell(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function linuxRoutes({ to, gateway, interface: name }: WorkaroundRequest, verb: string, ip = "ip"): string[] {
  const at = name === undefined ? "" : ` dev ${name}`;
  return to.map((address) => `${ip} route ${verb} ${address}/32 via ${gateway}${at}`);
}

function forLinux(request: WorkaroundRequest): WorkaroundPart[] {
  return [
    { use: "now", notes: ["As root. Until the next start:"], lines: linuxRoutes(request, "replace") },
    {
      use: "lasting",
      notes: [
        "For good with ifupdown: in /etc/network/interfaces, under the interface's own iface line.",
        "For other systems: --for netplan, networkd or networkmanager.",
      ],
      lines: linuxRoutes(request, "replace", "    up ip"),
    },
    { use: "undo", notes: ["Undo:"], lines: linuxRoutes(request, "del") },
  ];
}

function forNetplan({ to, gateway, interface: name }: WorkaroundRequest): WorkaroundPart[] {
  const file = "/etc/netplan/90-link-local-services.yaml";
  return [
    {
      use: "lasting",
      notes: [
        `${file}, mode 600, then: netplan apply`,
        `It adds to the definition of ${name}, which another file must hold under the same name.`,
      ],
      lines: [
        "network:",
        "  version: 2",
        "  ethernets:",
        `    ${name}:`,
        "      routes:",
        ...to.flatMap((address) => [`        - to: ${address}/32`, `          via: ${gateway}`]),
      ],
    },
    { use: "undo", notes: ["Undo:"], lines: [`rm ${file}`, "netplan apply"] },
  ];
}

function forNetworkd({ to, gateway, interface: name }: WorkaroundRequest): WorkaroundPart[] {
  // A drop-in belongs to the file that was chosen for the interface, whose name only networkd knows.
  const folder = `/etc/systemd/network/$(basename "$(networkctl status ${name} | sed -n 's/^ *Network File: //p')").d`;
  return [
    {
      use: "lasting",
      notes: [
        `A drop-in for the file of ${name} (networkctl status ${name}: Network File); as root:`,
        `  mkdir -p "${folder}"`,
        "  and there, as link-local-services.conf, the lines below; then:",
        `  networkctl reload && networkctl reconfigure ${name}`,
      ],
      lines: to
        .flatMap((address) => ["[Route]", `Destination=${address}/32`, `Gateway=${gateway}`, ""])
        .slice(0, -1),
    },
    {
      use: "undo",
      notes: ["Undo:"],
      lines: [
        `rm "${folder}/link-local-services.conf"`,
        `networkctl reload && networkctl reconfigure ${name}`,
      ],
    },
  ];
}

function forNetworkManager(request: WorkaroundRequest): WorkaroundPart[] {
  const { to, gateway, interface: name } = request;
  const modify = (sign: "+" | "-") => [
    `connection="$(nmcli -g GENERAL.CONNECTION device show ${name})"`,
    ...to.map(
      (address) => `nmcli connection modify "$connection" ${sign}ipv4.routes "${address}/32 ${gateway}"`,
    ),
    `nmcli device reapply ${name}`,
  ];
  return [
    {
      use: "now",
      notes: ["As root. Until the connection comes up anew:"],
      lines: linuxRoutes(request, "replace"),
    },
    { use: "lasting", notes: ["Or for good:"], lines: modify("+") },
    { use: "undo", notes: ["Undo, of what was for good:"], lines: modify("-") },
  ];
}

function forDhcp({ to, gateway }: WorkaroundRequest): WorkaroundPart[] {
  const routes: ClasslessRoute[] = [
    ...to.map((address) => ({ destination: `${address}/32`, gateway })),
    { destination: "0.0.0.0/0", gateway },
  ];
  const bytes = encodeClasslessRoutes(routes);
  const list = routes.flatMap(({ destination, gateway: router }) => [destination, router]).join(",");
  const codes = [121, 249] as const;
  return [
    {
      use: "hex",
      notes: [
        "Classless static routes (RFC 3442): option 121, and 249, which older Windows asks for instead. The default route is in",
        "the list, since a client that takes option 121 ignores option 3 (router).",
        "Clients take it at their next lease; undo: take the lines away, and let clients renew.",
        "The content of both options:",
      ],
      lines: [Array.from(bytes, (byte) => toHex(Uint8Array.of(byte))).join(":")],
    },
    { use: "dnsmasq", notes: ["dnsmasq.conf:"], lines: codes.map((code) => `dhcp-option=${code},${list}`) },
    {
      use: "kea",
      notes: ['Kea, in "Dhcp4" or in a subnet; where an "option-data" is there already, add to it:'],
      lines: [
        '"option-data": [',
        ...codes.map(
          (code, index) =>
            `  { "code": ${code}, "csv-format": false, "data": "${toHex(bytes).toUpperCase()}" }${index === 0 ? "," : ""}`,
        ),
        "]",
      ],
    },
    {
      use: "isc-dhcpd",
      notes: ["ISC dhcpd.conf, before the first subnet or in one:"],
      lines: [
        "option classless-routes code 121 = array of unsigned integer 8;",
        "option ms-classless-routes code 249 = array of unsigned integer 8;",
        ...["classless-routes", "ms-classless-routes"].map(
          (name) => `option ${name} ${[...bytes].join(", ")};`,
        ),
      ],
    },
  ];
}

// https://www.cni.dev/plugins/current/ipam/host-local/ : "routes" of the IPAM plugins host-local and static.
function forCni({ to, gateway }: WorkaroundRequest): WorkaroundPart[] {
  const routes = to.map((address) => `    { "dst": "${address}/32", "gw": "${gateway}" }`).join(",\n");
  return [
    {
      use: "lasting",
      notes: [
        'In the conflist, in "ipam" of the plugin that makes the interface (types host-local and static know "routes");',
        'where "routes" is there already, add to it. For containers made from then on. Undo: take it away again.',
      ],
      lines: ['"ipam": {', '  "routes": [', ...routes.split("\n"), "  ]", "}"],
    },
  ];
}

function forDocker(request: WorkaroundRequest): WorkaroundPart[] {
  const enter = `nsenter --target "$(docker inspect --format '{{.State.Pid}}' "$container")" --net ip`;
  return [
    {
      use: "now",
      notes: [
        "Docker has no option for a container's routes, and a container may change them only with CAP_NET_ADMIN. From the host it",
        "works for any Linux container, as root, until the container is started anew: run it again after each start.",
        "In a Windows container: --for windows, run inside of it.",
      ],
      lines: ["container=NAME", ...linuxRoutes(request, "replace", enter)],
    },
    { use: "undo", notes: ["Undo:"], lines: ["container=NAME", ...linuxRoutes(request, "del", enter)] },
  ];
}
