import { describe, expect, test } from "vitest";
import { findFaults, formatObservation, formatSummary, type Observation } from "./demo-report.ts";
import { PLAIN } from "./paint.ts";

const error = "curl: (28) Connection timed out after 2001 milliseconds";
const gatewayNeighbour = "10.0.1.1 dev eth0 lladdr 8a:56:ad:f0:87:b4 REACHABLE";
const failed = "169.254.169.254 dev eth0 FAILED";
const resolved = "169.254.169.254 dev eth0 lladdr 00:00:5e:00:01:00 REACHABLE";

const routed: Observation = {
  behaviour: "routed",
  address: "10.0.1.3/24",
  gateway: "10.0.1.1",
  routes: ["default via 10.0.1.1 dev eth0"],
  neighbours: [gatewayNeighbour],
  answer: { error },
};
const onLink: Observation = {
  behaviour: "on-link",
  address: "10.0.0.10/24",
  gateway: "10.0.0.1",
  routes: ["169.254.0.0/16 dev eth0 scope link"],
  neighbours: [failed],
  answer: { error },
};
const before = [routed, onLink];
const routedAfter: Observation = { ...routed, answer: { status: 200, seenFrom: "169.254.64.2" } };
const onLinkAfter: Observation = {
  ...onLink,
  neighbours: [resolved],
  answer: { status: 200, seenFrom: "169.254.64.3" },
};
const after = [routedAfter, onLinkAfter];

describe("faults", () => {
  test("none where it ends as it should, whatever the routed guest gets without onlink", () => {
    expect(findFaults(before, after)).toEqual([]);
    expect(
      findFaults([{ ...routed, answer: { error: "curl: (7) No route to host" } }, onLink], after),
    ).toEqual([]);
  });

  test.each([
    [
      "the problem did not show: answered",
      [routed, { ...onLink, answer: onLinkAfter.answer }],
      after,
      /got an answer/,
    ],
    [
      "the problem did not show: neighbour",
      [routed, { ...onLink, neighbours: [] }],
      after,
      /no FAILED neighbour/,
    ],
    ["no answer", before, [routed, onLinkAfter], /the routed guest got no answer: curl: \(28\)/],
    [
      "another status",
      before,
      [routedAfter, { ...onLinkAfter, answer: { status: 503, seenFrom: "169.254.64.3" } }],
      /the on-link guest got status 503/,
    ],
    [
      "another neighbour",
      before,
      [routedAfter, { ...onLinkAfter, neighbours: [resolved.replace("5e", "5f")] }],
      /is not 00:00:5e:00:01:00/,
    ],
    [
      "neighbour lost",
      before,
      [routedAfter, { ...onLinkAfter, neighbours: [failed] }],
      /is not 00:00:5e:00:01:00/,
    ],
  ])("%s", (_name, seenBefore, seenAfter, fault) => {
    const faults = findFaults(seenBefore, seenAfter);
    expect(faults.length).toBe(1);
    expect(faults[0]).toMatch(fault);
  });
});

test("an observation reads like a terminal, what is good and what is bad marked", () => {
  const paint = {
    heading: (t: string) => `# ${t}`,
    good: (t: string) => `+${t}+`,
    bad: (t: string) => `-${t}-`,
  };
  expect(formatObservation(onLink, paint)).toBe(`# on-link guest 10.0.0.10/24
  (asks for link-local addresses by ARP itself, as Windows does)
  $ ip -4 route
  169.254.0.0/16 dev eth0 scope link
  $ curl -m 2 http://169.254.169.254/
  -${error}-
  $ ip -4 neigh
  -${failed}-
`);
  expect(formatObservation(onLinkAfter, paint)).toContain(
    `  +status 200+, and the service saw this guest as 169.254.64.3\n  $ ip -4 neigh\n  +${resolved}+\n`,
  );
  expect(formatObservation(routed, paint)).toContain(`\n  ${gatewayNeighbour}\n`);
});

test("the summary has a line for each guest, and fits 80 columns", () => {
  const summary = formatSummary(before, after);
  expect(summary).toBe(`GUEST    WITHOUT ONLINK               WITH ONLINK
routed   no answer                    status 200
on-link  no answer, neighbour FAILED  status 200, neighbour 00:00:5e:00:01:00
`);
  const texts = [summary, ...[...before, ...after].map((seen) => formatObservation(seen, PLAIN))];
  for (const line of texts.join("").split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});
