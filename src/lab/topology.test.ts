import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GuestSpec, guestCommands, hostCommands, macOf, planGuest } from "./topology.ts";

const web: GuestSpec = {
  name: "web",
  link: "veth",
  behaviour: "routed",
  address: "10.0.1.3/24",
  gateway: "10.0.1.1",
};

describe("planGuest", () => {
  test("fills in vif, MAC and gateway", () => {
    expect(planGuest(web)).toMatchObject({ vif: "vif-web", mac: "02:00:0a:00:01:03", gatewayOnHost: true });
  });

  test.each([
    ["a long name", { name: "a-long-names" }, /"vif-a-long-names" has 16 characters, the kernel takes 15/],
    ["a name with a space", { name: "a b" }, /"vif-a b" is no name/],
    ["no prefix length", { address: "10.0.1.3" }, /lacks its prefix length, such as 10.0.1.3\/24/],
    ["no address", { address: "web/24" }, /"web\/24" is no IPv4 address/],
    ["a bridge for a veth", { bridge: "br0" }, /"bridge" goes with link "bridge"/],
    ["no bridge for a bridge port", { link: "bridge" }, /"bridge" goes with link "bridge"/],
  ] as const)("refuses %s", (_what, change, message) => {
    expect(() => planGuest({ ...web, ...change })).toThrow(message);
  });

  test("takes a name of 11 characters", () => {
    expect(planGuest({ ...web, name: "eleven-char" }).vif).toHaveLength(15);
  });
});

test("macOf gives different addresses different unicast, locally administered MACs", () => {
  const address = fc
    .tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
    .map((bytes) => bytes.join("."));
  fc.assert(
    fc.property(address, address, (one, other) => {
      expect(macOf(one)).toMatch(/^02(:[0-9a-f]{2}){5}$/);
      expect(macOf(one) === macOf(other)).toBe(one === other);
    }),
  );
});

describe("commands", () => {
  test("a routed guest behind a veth whose gateway the host holds", () => {
    const guest = planGuest(web);
    expect(hostCommands(guest)).toEqual([
      "netns add web",
      "link add vif-web type veth peer name eth0 netns web address 02:00:0a:00:01:03",
      "link set vif-web up",
      "addr add 10.0.1.1/24 dev vif-web",
    ]);
    expect(guestCommands(guest)).toEqual([
      "link set lo up",
      "link set eth0 up",
      "addr add 10.0.1.3/24 dev eth0",
      "route add default via 10.0.1.1",
    ]);
  });

  test("only an on-link guest has the link-local route", () => {
    expect(guestCommands(planGuest({ ...web, behaviour: "on-link" }))).toContain(
      "route add 169.254.0.0/16 dev eth0 scope link",
    );
  });

  test("a gateway that nobody holds is a permanent neighbour", () => {
    const guest = planGuest({ ...web, gatewayOnHost: false });
    expect(hostCommands(guest).join()).not.toContain("10.0.1.1");
    expect(guestCommands(guest)).toContain(
      "neigh replace 10.0.1.1 lladdr 00:00:5e:00:01:00 dev eth0 nud permanent",
    );
  });

  test("a bridge port has no address of its own", () => {
    const commands = hostCommands(planGuest({ ...web, link: "bridge", bridge: "br0" }));
    expect(commands).toContain("link set vif-web master br0");
    expect(commands.join()).not.toContain("10.0.1.1");
  });

  test("a tap guest's eth0 gets its MAC in the guest's namespace", () => {
    const guest = planGuest({ ...web, link: "tap" });
    expect(hostCommands(guest)).toContain("tuntap add dev vif-web mode tap");
    expect(guestCommands(guest)).toContain("link set eth0 address 02:00:0a:00:01:03");
  });
});
