import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attribute, attributeText, attributeU32, decodeAttributes, nested } from "./netlink.ts";
import {
  decodeAddress,
  decodeChange,
  decodeLink,
  decodeRoute,
  encodeAddress,
  encodeLinkUp,
  encodeRouteQuery,
  encodeVethPair,
  RTM,
} from "./rtnetlink-codec.ts";

const AF_BRIDGE = 7;
const LINK_NETNSID = 37;
const ipv4 = fc.ipV4();

/** A struct ifinfomsg of a little-endian machine: Ethernet, ifindex 5, IFF_UP. */
function linkMessage(family: number, ...attributes: Buffer[]): Buffer {
  const header = Buffer.from("00000100050000000100000000000000", "hex");
  header[0] = family;
  return Buffer.concat([header, ...attributes]);
}

describe("links", () => {
  it("are read with all that is known of them", () => {
    const payload = linkMessage(
      0,
      attribute(1, Buffer.from("02000a000103", "hex")),
      attributeText(3, "veth-web"),
      attributeU32(4, 1500),
      attributeU32(5, 8),
      attributeU32(10, 3),
      nested(18, attributeText(1, "veth")),
    );
    expect(decodeLink(payload)).toEqual({
      ifindex: 5,
      name: "veth-web",
      up: true,
      mac: "02:00:0a:00:01:03",
      mtu: 1500,
      type: "veth",
      hardware: 1,
      master: 3,
      alias: undefined,
      peer: 8,
    });
  });

  it("have no MAC when the hardware address is no such thing", () => {
    expect(decodeLink(linkMessage(0, attribute(1, Buffer.alloc(4))))?.mac).toBeUndefined();
  });

  it("have no peer when it is in another namespace, is the link itself, or 0", () => {
    expect(
      decodeLink(linkMessage(0, attributeU32(5, 8), attributeU32(LINK_NETNSID, 0)))?.peer,
    ).toBeUndefined();
    expect(decodeLink(linkMessage(0, attributeU32(5, 5)))?.peer).toBeUndefined();
    expect(decodeLink(linkMessage(0, attributeU32(5, 0)))?.peer).toBeUndefined();
  });

  it("are refused when the header is cut off", () => {
    expect(() => decodeLink(Buffer.alloc(15))).toThrow(
      "rtnetlink link message: 15 bytes, less than the 16 of its header",
    );
  });

  it("are set up without a change of other flags", () => {
    expect(encodeLinkUp(5).toString("hex")).toBe("00000000050000000100000001000000");
  });
});

describe("a veth pair", () => {
  it("has name, MAC, MTU and IFF_NOARP at both ends", () => {
    const mac = (last: number) => Buffer.from([2, 0, 0, 0, 0, last]);
    const payload = encodeVethPair(
      { name: "onlink0", mac: mac(1), mtu: 9000 },
      { name: "onlink0-peer", mac: mac(2), mtu: 9000 },
    );
    const info = decodeAttributes(decodeAttributes(payload.subarray(16)).get(18)!);
    const peer = decodeAttributes(info.get(2)!).get(1)!;
    expect(decodeLink(payload)).toMatchObject({
      name: "onlink0",
      mac: "02:00:00:00:00:01",
      mtu: 9000,
      type: "veth",
      up: false,
    });
    expect(decodeLink(peer)).toMatchObject({
      name: "onlink0-peer",
      mac: "02:00:00:00:00:02",
      mtu: 9000,
      up: false,
    });
    for (const end of [payload, peer]) {
      expect(end.subarray(8, 16).toString("hex")).toBe("8000000080000000");
    }
  });
});

describe("addresses", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 0x7fffffff }),
        ipv4,
        fc.integer({ min: 0, max: 32 }),
        fc.constantFrom(["global", 0] as const, ["link", 253] as const, ["host", 254] as const),
        (ifindex, address, prefixLength, [scope, number]) => {
          const payload = encodeAddress({ ifindex, address, prefixLength, scope });
          expect(decodeAddress(payload)).toEqual({ ifindex, address, prefixLength, scope: number });
        },
      ),
    );
  });

  it("are the interface's own on a point-to-point link", () => {
    const header = Buffer.from("0220000005000000", "hex");
    const payload = Buffer.concat([
      header,
      attribute(1, Buffer.from([10, 0, 0, 2])),
      attribute(2, Buffer.from([10, 0, 0, 1])),
    ]);
    expect(decodeAddress(payload)?.address).toBe("10.0.0.1");
  });

  it("of IPv6 are left out", () => {
    expect(decodeAddress(Buffer.from("0a40000005000000", "hex"))).toBeUndefined();
  });

  it("that are none are refused", () => {
    expect(() => encodeRouteQuery("10.0.0")).toThrow(/10\.0\.0/);
  });
});

describe("routes", () => {
  const route = (type: number, ...attributes: Buffer[]) => {
    const header = Buffer.from("022000000000000000000000", "hex");
    header[7] = type;
    return decodeRoute(Buffer.concat([header, ...attributes]));
  };

  it("have type, interface, source and gateway", () => {
    const attributes = [
      attributeU32(4, 3),
      attribute(5, Buffer.from([10, 0, 0, 1])),
      attribute(7, Buffer.from([10, 0, 0, 9])),
    ];
    expect(route(1, ...attributes)).toEqual({
      type: "unicast",
      ifindex: 3,
      gateway: "10.0.0.1",
      source: "10.0.0.9",
    });
    expect([1, 2, 3, 5].map((type) => route(type).type)).toEqual(["unicast", "local", "broadcast", "other"]);
  });
});

describe("changes", () => {
  const change = (type: number, payload: Buffer) =>
    decodeChange({ type, flags: 0, sequence: 0, port: 0, payload });

  it("of links say what is and what is gone", () => {
    const payload = linkMessage(0, attributeText(3, "tap1"));
    expect(change(RTM.NEWLINK, payload)).toMatchObject({ kind: "link", link: { ifindex: 5, name: "tap1" } });
    expect(change(RTM.DELLINK, payload)).toEqual({ kind: "link-gone", ifindex: 5, name: "tap1" });
  });

  it("of a bridge's ports are not taken for links that come and go", () => {
    const payload = linkMessage(AF_BRIDGE, attributeText(3, "tap1"), attributeU32(10, 3));
    expect(change(RTM.NEWLINK, payload)).toBeUndefined();
    expect(change(RTM.DELLINK, payload)).toBeUndefined();
  });

  it("of routes, rules and addresses are one kind", () => {
    for (const type of [RTM.NEWADDR, RTM.DELADDR, RTM.NEWROUTE, RTM.DELROUTE, RTM.NEWRULE, RTM.DELRULE]) {
      expect(change(type, Buffer.alloc(0))).toEqual({ kind: "routes-changed" });
    }
  });

  it("of any other type are left out", () => {
    expect(change(28, Buffer.alloc(0))).toBeUndefined();
  });
});
