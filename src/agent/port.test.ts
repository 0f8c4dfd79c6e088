import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PortError, parsePort, parsePortId, parsePorts, registrationOf } from "./port.ts";

/** What `vrouter-port-control --oper=add` sends for a Nova VM. */
const sent = {
  id: "753a65ef-918a-4193-9266-dc23ed8a5982",
  "instance-id": "63bd1a8a-ba6a-4547-af8d-653dd8ff397e",
  "ip-address": "10.0.1.3",
  "ip6-address": "",
  "vn-id": "38ced7ff-fdfc-4f17-9547-17ff4fb45da9",
  "display-name": "vm 1",
  "vm-project-id": "cb33cc2c-6fb8-4072-a112-77547c60d2b7",
  "mac-address": "02:75:3A:65:EF:91",
  "system-name": "tap753a65ef-91",
  type: 0,
  "rx-vlan-id": -1,
  "tx-vlan-id": -1,
  "vhostuser-mode": 0,
  author: "/usr/bin/vrouter-port-control",
  time: "2026-01-02 03:04:05.678901",
};
const kept = {
  id: sent.id,
  "instance-id": sent["instance-id"],
  "display-name": "vm 1",
  "ip-address": "10.0.1.3",
  "ip6-address": "::",
  "vn-id": sent["vn-id"],
  "vm-project-id": sent["vm-project-id"],
  "mac-address": "02:75:3a:65:ef:91",
  "system-name": "tap753a65ef-91",
  type: 0,
  "rx-vlan-id": -1,
  "tx-vlan-id": -1,
  "vhostuser-mode": 0,
  "link-state": 1,
};
const without = (field: string) =>
  Object.fromEntries(Object.entries(sent).filter(([name]) => name !== field));

describe("a port", () => {
  it("is read, and read again as it was kept", () => {
    expect(parsePort(sent)).toEqual(kept);
    expect(parsePort(kept)).toEqual(kept);
    expect(parsePorts(JSON.stringify(sent))).toEqual([kept]);
    expect(parsePorts(JSON.stringify([sent, sent]))).toEqual([kept, kept]);
    expect(parsePorts("[]")).toEqual([]);
  });

  it.each([
    [{ "ip-address": "None" }, { "ip-address": "0.0.0.0" }],
    [{ "ip-address": "fd11::3" }, { "ip-address": "0.0.0.0" }],
    [{ "ip6-address": "fd11::3" }, { "ip6-address": "fd11::3" }],
    [{ "instance-id": "" }, { "instance-id": "00000000-0000-0000-0000-000000000000" }],
    [{ "vm-project-id": "CB33CC2C6FB84072A11277547C60D2B7" }, {}],
    [{ "mac-address": "2:75:3a:65:ef:91" }, {}],
    [{ type: 7 }, { type: 0 }],
    [
      { type: 1, "vn-id": "" },
      { type: 1, "vn-id": "00000000-0000-0000-0000-000000000000" },
    ],
    [{ type: 2 }, { type: 2, "link-state": 0 }],
    [
      { type: 2, "link-state": 1 },
      { type: 2, "link-state": 1 },
    ],
    [{ "link-state": 0 }, { "link-state": 0 }],
    [{ "vhostuser-mode": undefined }, {}],
  ])("with %j is kept with %j", (changes, expected) => {
    expect(parsePort(JSON.parse(JSON.stringify({ ...sent, ...changes })))).toEqual({ ...kept, ...expected });
  });

  it.each([
    ["{", "Invalid Json string ==> {"],
    ["", "Invalid Json string ==> "],
    ["1", "Unexpected Json string ==> 1"],
    ["null", "Unexpected Json string ==> null"],
    ["[[]]", "Unexpected Json string ==> []"],
    [without("id"), "Invalid or missing data for <id>"],
    [{ ...sent, id: "100" }, "Invalid data for <id>"],
    [{ ...sent, id: 100 }, "Invalid or missing data for <id>"],
    [without("instance-id"), "Invalid or missing data for <instance-id>"],
    [without("vn-id"), "Invalid or missing data for <vn-id>"],
    [{ ...sent, "vn-id": "" }, "Invalid VN uuid"],
    [without("vm-project-id"), "Invalid or missing data for <vm-project-id>"],
    [without("display-name"), "Invalid or missing field for <display-name>"],
    [without("ip-address"), "Invalid or missing field for <ip-address>"],
    [{ ...sent, "ip6-address": null }, "Invalid or missing field for <ip6-address>"],
    [
      { ...sent, "display-name": "x".repeat(256) },
      "Invalid data for <display-name>: more than 255 characters",
    ],
    [without("type"), "Invalid or missing field for <type>"],
    [without("system-name"), "Invalid or missing field for <system-name>"],
    [
      { ...sent, "system-name": "a/b" },
      "Invalid data for <system-name>: Linux has no interfaces of such a name",
    ],
    [without("mac-address"), "Invalid or missing field for <mac-address>"],
    ...[
      "",
      "02:75:3a:65:ef",
      "02:75:3a:65:ef:xx",
      "00:00:00:00:00:00",
      "01:00:5e:00:00:01",
      "0275.3a65.ef91",
    ].map((mac): [object, string] => [
      { ...sent, "mac-address": mac },
      "Invalid MAC, Use xx:xx:xx:xx:xx:xx format",
    ]),
    [without("rx-vlan-id"), "Invalid or missing field for <rx-vlan-id>"],
    [{ ...sent, "tx-vlan-id": "1" }, "Invalid or missing field for <tx-vlan-id>"],
  ])("%j is refused: %s", (body, message) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    expect(() => parsePorts(text)).toThrow(new PortError(message));
    // One that is wrong spoils the list.
    if (typeof body === "object") expect(() => parsePorts(JSON.stringify([sent, body]))).toThrow(message);
  });

  it("is read or refused, whatever is sent, and an error repeats little of it", () => {
    const field = fc.constantFrom(...Object.keys(kept));
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(sent)));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.tuple(field, value).map(([name, other]) => JSON.stringify({ ...sent, [name]: other })),
          fc.string({ minLength: 1000, maxLength: 5000 }),
        ),
        (text) => {
          try {
            for (const port of parsePorts(text))
              expect(parsePort(JSON.parse(JSON.stringify(port)))).toEqual(port);
          } catch (error) {
            expect(error).toBeInstanceOf(PortError);
            expect((error as Error).message.length).toBeLessThan(300);
          }
        },
      ),
    );
  });

  it("is the registration of its interface", () => {
    expect(registrationOf(parsePort(sent))).toEqual({
      name: "tap753a65ef-91",
      content: {
        instanceId: sent["instance-id"],
        projectId: sent["vm-project-id"],
        addresses: ["10.0.1.3"],
        mac: "02:75:3a:65:ef:91",
      },
    });
    expect(registrationOf(parsePort({ ...sent, "display-name": "vm1" }))?.content).toMatchObject({
      metadata: { hostname: "vm1" },
    });
    const unknown = { "instance-id": "", "vm-project-id": "", "ip-address": "0.0.0.0" };
    expect(registrationOf(parsePort({ ...sent, ...unknown }))?.content).toEqual({ mac: "02:75:3a:65:ef:91" });
    expect(registrationOf(parsePort({ ...sent, type: 2, "system-name": sent.id }))).toBeUndefined();
  });

  it("has a UUID in paths", () => {
    expect(parsePortId(sent.id.toUpperCase())).toBe(sent.id);
    expect(parsePortId(`${sent.id}0`)).toBeUndefined();
    expect(parsePortId("..")).toBeUndefined();
  });
});
