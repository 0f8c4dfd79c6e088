import fc from "fast-check";
import { expect, test } from "vitest";
import { ipv4FromUint32 } from "../packet/address.ts";
import { echoRequest, icmpError, ipv4Frame, tcpFrame, udpFrame } from "../packet/build.ts";
import { updateChecksum } from "../packet/checksum.ts";
import { windowsArpRequest } from "../packet/fixtures.ts";
import { frameErrors, type Ipv4Network, parseFrame } from "../packet/frame.ts";
import { TCP_FLAG } from "../packet/tcp.ts";
import { CASES, exampleState, FABRIC, HOST, NOW, PLAIN_VIF, VIF } from "./cases.ts";
import { FRAGMENT_LIFETIME } from "./fragments.ts";
import { REJECT_BURST, REJECT_INTERVAL } from "./reject.ts";
import { cloneState, type ModelState, NS_PER_S, setService, setVif } from "./state.ts";
import { firstFree, type StepInput, step, sweep } from "./step.ts";

const SERVICES = ["169.254.169.254", "169.254.169.253"];
const ADDRESSES = [...SERVICES, "10.0.1.3", "127.0.0.1", "192.0.2.53", "198.51.100.7", "169.254.64.5"];
const MACS = ["02:00:0a:00:01:03", "00:00:5e:00:01:00", "02:00:00:00:00:01"];
const guestTcp = {
  sourceMac: MACS[0]!,
  destinationMac: MACS[1]!,
  source: "10.0.1.3",
  destination: SERVICES[0]!,
  sourcePort: 40000,
  destinationPort: 80,
};
const serverTcp = {
  sourceMac: MACS[2]!,
  destinationMac: MACS[1]!,
  source: "127.0.0.1",
  destination: "169.254.64.5",
  sourcePort: 8080,
  destinationPort: 40000,
};

/** Right frames between the addresses and ports of the examples, so that many meet a flow. */
const rightFrame = fc
  .record({
    sourceMac: fc.constantFrom(...MACS),
    destinationMac: fc.constantFrom(...MACS),
    source: fc.constantFrom(...ADDRESSES),
    destination: fc.constantFrom(...ADDRESSES),
    sourcePort: fc.constantFrom(0, 53, 80, 8080, 40000, 61000),
    destinationPort: fc.constantFrom(53, 80, 81, 8080, 40000, 61000, 65535),
    flags: fc.integer({ min: 0, max: 255 }),
    data: fc.uint8Array({ maxLength: 30 }),
    protocol: fc.constantFrom(1, 6, 17, 47),
    ip: fc.record({
      tos: fc.nat(255),
      ttl: fc.nat(255),
      identification: fc.nat(3),
      moreFragments: fc.boolean(),
      fragmentOffset: fc.constantFrom(0, 0, 0, 8),
      options: fc.constantFrom(new Uint8Array(0), Uint8Array.of(0x94, 4, 0, 0)),
    }),
    whole: fc.boolean(),
    noChecksum: fc.boolean(),
    padTo: fc.constantFrom(0, 60, 120),
  })
  .map(({ whole, noChecksum, ip: anyIp, ...fields }) => {
    const ip = whole ? { ...anyIp, moreFragments: false, fragmentOffset: 0 } : anyIp;
    const all = { ...fields, ip };
    if (ip.fragmentOffset > 0) return ipv4Frame({ ...all, payload: fields.data });
    if (fields.protocol === 6) return tcpFrame(all);
    if (fields.protocol === 17) return udpFrame({ ...all, ...(noChecksum && { udp: { checksum: 0 } }) });
    if (fields.protocol !== 1) return ipv4Frame({ ...all, payload: fields.data });
    if (fields.flags % 2 === 0) return echoRequest({ ...all, identifier: fields.sourcePort, sequence: 1 });
    const { destination: source, source: destination } = fields;
    const { sourcePort: destinationPort, destinationPort: sourcePort } = fields;
    const about = { ...fields, source, destination, sourcePort, destinationPort };
    const quoted = (fields.flags % 4 === 1 ? tcpFrame(about) : udpFrame(about)).slice(
      14,
      14 + 28 + fields.data.length,
    );
    return icmpError({ ...all, type: 3, code: 4, quoted });
  });

const anyFrame = fc.oneof(
  rightFrame,
  fc.constantFrom(...CASES.map(({ input }) => input.frame)),
  fc.uint8Array({ maxLength: 90 }),
  // One byte changed, then cut short: near to right.
  fc
    .tuple(rightFrame, fc.nat(80), fc.nat(255), fc.integer({ min: 0, max: 150 }))
    .map(([frame, offset, byte, length]) => {
      const changed = frame.slice(0, length);
      if (offset < changed.length) changed[offset] = byte;
      return changed;
    }),
);

function inputs(frame: fc.Arbitrary<Uint8Array>): fc.Arbitrary<StepInput[]> {
  const one = fc.record({
    place: fc.constantFrom(
      { side: "vif" as const, ifindex: VIF },
      { side: "vif" as const, ifindex: PLAIN_VIF },
      { side: "vif" as const, ifindex: 99 },
      { side: "host" as const, ifindex: HOST },
      { side: "fabric" as const, ifindex: FABRIC },
    ),
    frame,
    wait: fc.constantFrom(0n, 1n, 5n, 40n),
  });
  return fc.array(one, { minLength: 1, maxLength: 40 }).map((steps) => {
    let now = NOW;
    return steps.map(({ place, frame, wait }) => {
      now += wait * NS_PER_S;
      return { ...place, frame, now };
    });
  });
}

function ipv4Of(frame: Uint8Array): Ipv4Network | undefined {
  const parsed = parseFrame(frame);
  return parsed.ok && parsed.value.network.kind === "ipv4" ? parsed.value.network : undefined;
}

/** What must hold between flows, ports and counts at any time. */
function expectConsistent(state: ModelState): void {
  const { flows, reverse, vifs } = state;
  expect(reverse.size).toBe(flows.size);
  for (const key of reverse.values()) expect(flows.has(key)).toBe(true);
  const counted = [...vifs.values()].reduce((sum, vif) => sum + vif.flows, 0);
  expect(counted).toBe(flows.size);
}

test("any frames: nothing throws, the input is not changed, the state stays whole", () => {
  fc.assert(
    fc.property(inputs(anyFrame), (steps) => {
      const state = exampleState();
      for (const input of steps) {
        const original = input.frame.slice();
        const { verdict, events } = step(state, input);
        expect(input.frame).toEqual(original);
        if (verdict.kind === "send") expect(verdict.frame).not.toBe(input.frame);
        expect(events.length).toBeLessThan(4);
      }
      expectConsistent(state);
      sweep(state, NOW + 100_000n * NS_PER_S);
      expect(state.flows.size).toBe(0);
      expect(state.fragments.size).toBe(0);
      expectConsistent(state);
    }),
    { numRuns: 500 },
  );
});

test("a frame goes to no other vif than that of its flow", () => {
  fc.assert(
    fc.property(inputs(anyFrame), (steps) => {
      const state = exampleState();
      for (const input of steps) {
        const { verdict, vif } = step(state, input);
        if (verdict.kind !== "send" || verdict.to.kind !== "vif") continue;
        const { ifindex } = verdict.to;
        expect(vif).toBe(ifindex);
        if (input.side === "vif") {
          expect(ifindex).toBe(input.ifindex);
          continue;
        }
        const sent = ipv4Of(verdict.frame)!;
        const ofVif = [...state.flows.values()].filter((flow) => flow.vif === ifindex);
        if (sent.transport.kind !== "fragment")
          expect(
            ofVif.some(({ guest, service }) => guest === sent.destination && service === sent.source),
          ).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});

test("a right frame becomes a right frame", () => {
  fc.assert(
    fc.property(inputs(rightFrame), (steps) => {
      const state = exampleState();
      for (const input of steps) {
        const { verdict } = step(state, input);
        if (verdict.kind === "send") expect(frameErrors(verdict.frame)).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

test("a wrong checksum stays wrong by the same amount", () => {
  fc.assert(
    fc.property(fc.nat(0xffff), fc.nat(0xffff), (ipChecksum, tcpChecksum) => {
      const input = (frame: Uint8Array): StepInput => ({ side: "vif", ifindex: VIF, frame, now: NOW });
      const fields = { ...guestTcp, flags: TCP_FLAG.syn };
      const right = ipv4Of(tcpFrame(fields))!;
      const sent = (frame: Uint8Array) => {
        const { verdict } = step(exampleState(), input(frame));
        return verdict.kind === "send" ? ipv4Of(verdict.frame)! : undefined;
      };
      const good = sent(tcpFrame(fields))!;
      const bad = sent(
        tcpFrame({ ...fields, ip: { checksum: ipChecksum }, tcp: { checksum: tcpChecksum } }),
      )!;
      if (right.transport.kind !== "tcp" || good.transport.kind !== "tcp" || bad.transport.kind !== "tcp")
        throw new Error("not TCP");
      // Right out + (wrong in - right in), in one's complement; updateChecksum takes complements.
      const moved = (from: number, to: number, wrong: number) =>
        ~updateChecksum(~to & 0xffff, from, wrong) & 0xffff;
      const same = (a: number, b: number) => expect(a % 0xffff).toBe(b % 0xffff);
      same(bad.checksum, moved(right.checksum, good.checksum, ipChecksum));
      same(bad.transport.checksum, moved(right.transport.checksum, good.transport.checksum, tcpChecksum));
    }),
  );
});

test("NAT there and back gives the guest its own addresses and ports, whatever they are", () => {
  const address = fc.integer({ min: 0x0b000001, max: 0x7effffff }).map(ipv4FromUint32);
  fc.assert(
    fc.property(address, fc.nat(0xffff), fc.boolean(), fc.uint8Array(), (source, sourcePort, udp, data) => {
      const state = exampleState();
      const fields = { ...guestTcp, source, sourcePort, data };
      const out = udp
        ? udpFrame({ ...fields, destination: SERVICES[1]!, destinationPort: 53 })
        : tcpFrame({ ...fields, flags: TCP_FLAG.syn });
      const { verdict } = step(state, { side: "vif", ifindex: PLAIN_VIF, frame: out, now: NOW });
      const sent = verdict.kind === "send" ? ipv4Of(verdict.frame)! : undefined;
      if (sent?.transport.kind !== "tcp" && sent?.transport.kind !== "udp") throw new Error("not sent");
      const reversed = {
        ...serverTcp,
        source: sent.destination,
        destination: sent.source,
        sourcePort: sent.transport.destinationPort,
        destinationPort: sent.transport.sourcePort,
        data,
      };
      const back = step(state, {
        ...(udp ? { side: "fabric", ifindex: FABRIC } : { side: "host", ifindex: HOST }),
        frame: udp ? udpFrame(reversed) : tcpFrame(reversed),
        now: NOW,
      } as StepInput);
      expect(back.reason).toBe("returned");
      const got = back.verdict.kind === "send" ? ipv4Of(back.verdict.frame)! : undefined;
      const guest = ipv4Of(out)!;
      if (guest.transport.kind !== "tcp" && guest.transport.kind !== "udp") throw new Error("no ports");
      expect(got).toMatchObject({
        source: guest.destination,
        destination: source,
        transport: {
          sourcePort: guest.transport.destinationPort,
          destinationPort: sourcePort,
        },
      });
    }),
  );
});

const S = NS_PER_S;
function tcpStep(
  state: ModelState,
  from: "guest" | "server",
  flags: number,
  now: bigint,
): string | undefined {
  const input: StepInput =
    from === "guest"
      ? { side: "vif", ifindex: VIF, frame: tcpFrame({ ...guestTcp, flags }), now }
      : { side: "host", ifindex: HOST, frame: tcpFrame({ ...serverTcp, flags }), now };
  return step(state, input).reason;
}
function onlyFlow(state: ModelState) {
  expect(state.flows.size).toBe(1);
  return [...state.flows.values()][0]!;
}

test("TCP: opening, established, closing with the second FIN; frames and bytes are counted", () => {
  const state = exampleState();
  const { syn, ack, fin } = TCP_FLAG;
  tcpStep(state, "guest", syn, NOW);
  expect(onlyFlow(state).state).toBe("opening");
  tcpStep(state, "guest", syn, NOW);
  expect(onlyFlow(state).state).toBe("opening");
  tcpStep(state, "server", syn | ack, NOW);
  expect(onlyFlow(state).state).toBe("opening");
  tcpStep(state, "guest", syn, NOW);
  expect(onlyFlow(state).state).toBe("opening");
  tcpStep(state, "guest", ack, NOW);
  expect(onlyFlow(state).state).toBe("established");
  tcpStep(state, "guest", fin | ack, NOW);
  expect(onlyFlow(state).state).toBe("established");
  tcpStep(state, "server", fin | ack, NOW + S);
  tcpStep(state, "guest", ack, NOW + S);
  expect(onlyFlow(state)).toMatchObject({
    state: "closing",
    lastSeen: NOW + S,
    framesOut: 6n,
    bytesOut: 324n,
    framesIn: 2n,
    bytesIn: 108n,
  });
});

test.each(["guest", "server"] as const)("TCP: a RST of the %s closes, unless they go on", (from) => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  tcpStep(state, "server", TCP_FLAG.syn | TCP_FLAG.ack, NOW);
  tcpStep(state, "guest", TCP_FLAG.ack, NOW);
  tcpStep(state, from, TCP_FLAG.rst, NOW);
  expect(onlyFlow(state).state).toBe("closing");
  tcpStep(state, "server", TCP_FLAG.syn | TCP_FLAG.ack, NOW);
  expect(onlyFlow(state).state).toBe("closing");
  tcpStep(state, "server", TCP_FLAG.ack, NOW);
  expect(onlyFlow(state).state).toBe("established");
});

test("TCP: whoever sends SYN, RST and ACK with nobody answering has no established flow", () => {
  const state = exampleState();
  for (const flags of [TCP_FLAG.syn, TCP_FLAG.rst, TCP_FLAG.ack]) tcpStep(state, "guest", flags, NOW);
  expect(onlyFlow(state).state).toBe("opening");
});

test("a frame in a Buffer is not changed either", () => {
  const frame = Buffer.from(windowsArpRequest());
  step(exampleState(), { side: "vif", ifindex: VIF, frame, now: NOW });
  expect(frame).toEqual(Buffer.from(windowsArpRequest()));
});

test("only a bare SYN takes the place of a closing flow", () => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  tcpStep(state, "guest", TCP_FLAG.rst, NOW);
  for (const flags of [TCP_FLAG.syn | TCP_FLAG.ack, TCP_FLAG.syn | TCP_FLAG.fin, TCP_FLAG.syn | TCP_FLAG.rst])
    expect(tcpStep(state, "guest", flags, NOW)).toBe("forwarded");
  expect(onlyFlow(state)).toMatchObject({ state: "closing", natPort: 40000 });
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  expect(onlyFlow(state)).toMatchObject({ state: "opening", natPort: 40000 });
});

test("a new connection of the same ends leads to another backend where the service has another now", () => {
  const state = exampleState();
  for (const flags of [TCP_FLAG.syn, TCP_FLAG.rst]) tcpStep(state, "guest", flags, NOW);
  const backend = { kind: "host-local", address: "127.0.0.7", port: 8080 } as const;
  const { address, port } = { address: guestTcp.destination, port: guestTcp.destinationPort };
  setService(
    state,
    { address, port, protocol: "tcp" },
    { id: 1, backends: [backend], responseHopLimit: 64, whenNoBackend: "reject" },
  );
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  expect(onlyFlow(state)).toMatchObject({ state: "opening", backend: "127.0.0.7", framesOut: 1n });
  expect(state.reverse.size).toBe(1);
});

test.each([
  ["opening", [], 60n],
  [
    "established",
    [
      ["server", TCP_FLAG.syn | TCP_FLAG.ack],
      ["guest", TCP_FLAG.ack],
    ],
    7200n,
  ],
  ["closing", [["guest", TCP_FLAG.rst]], 10n],
] as const)("TCP %s: the flow is there until its timeout, and not after", (name, then, seconds) => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  for (const [from, flags] of then) tcpStep(state, from, flags, NOW);
  expect(onlyFlow(state).state).toBe(name);
  expect(sweep(cloneState(state), NOW + seconds * S)).toEqual([]);
  expect(tcpStep(cloneState(state), "guest", TCP_FLAG.ack, NOW + seconds * S)).toBe("forwarded");
  expect(sweep(cloneState(state), NOW + seconds * S + 1n)).toMatchObject([{ kind: "flow-closed" }]);
  expect(tcpStep(state, "guest", TCP_FLAG.ack, NOW + seconds * S + 1n)).toBe("no-flow");
  expect(state.flows.size).toBe(0);
});

test("UDP: 30 s, and 180 s once answered; ICMP: 10 s", () => {
  const query = udpFrame({ ...guestTcp, destination: SERVICES[1]!, destinationPort: 53 });
  const fields = { ...serverTcp, source: "192.0.2.53", destination: "198.51.100.7" };
  const answer = udpFrame({ ...fields, sourcePort: 53, destinationPort: 61000 });
  const ping = echoRequest({ ...serverTcp, identifier: 1, sequence: 1 });
  const lives = (state: ModelState, seconds: bigint) => {
    expect(sweep(state, NOW + seconds * S)).toEqual([]);
    expect(sweep(state, NOW + seconds * S + 1n)).toHaveLength(1);
  };
  const state = exampleState();
  step(state, { side: "vif", ifindex: VIF, frame: query, now: NOW });
  const answered = cloneState(state);
  step(answered, { side: "fabric", ifindex: FABRIC, frame: answer, now: NOW });
  lives(state, 30n);
  lives(answered, 180n);
  const pinged = exampleState();
  step(pinged, { side: "host", ifindex: HOST, frame: ping, now: NOW });
  lives(pinged, 10n);
});

test("an idle flow that nobody has met counts for the limit until it is swept", () => {
  const state = exampleState();
  state.settings.maxFlows = 1;
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  const other = tcpFrame({ ...guestTcp, sourcePort: 40001, flags: TCP_FLAG.syn });
  const input: StepInput = { side: "vif", ifindex: VIF, frame: other, now: NOW + 100n * S };
  expect(step(cloneState(state), input).reason).toBe("limit");
  sweep(state, NOW + 100n * S);
  expect(step(state, input).reason).toBe("forwarded");
});

test("an ICMP error leaves the flow as it was", () => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  const before = structuredClone(onlyFlow(state));
  const about = {
    ...serverTcp,
    source: "169.254.64.5",
    destination: "127.0.0.1",
    sourcePort: 40000,
    destinationPort: 8080,
  };
  const quoted = tcpFrame(about).slice(14, 14 + 28);
  const frame = icmpError({ ...serverTcp, type: 3, code: 3, quoted });
  expect(step(state, { side: "host", ifindex: HOST, frame, now: NOW + S }).reason).toBe("icmp-error");
  expect(onlyFlow(state)).toEqual(before);
});

test("refusals: 100 at once, then one in 10 ms, for each vif", () => {
  const state = exampleState();
  setVif(state, PLAIN_VIF, { ...state.vifs.get(PLAIN_VIF)!, unknownPort: "reject" });
  const frame = udpFrame({ ...guestTcp, destinationPort: 9 });
  const answers = (count: number, ifindex: number, now: bigint) =>
    Array.from(
      { length: count },
      () => step(state, { side: "vif", ifindex, frame, now }).verdict.kind,
    ).filter((kind) => kind === "send").length;
  expect(answers(150, VIF, NOW)).toBe(Number(REJECT_BURST));
  expect(answers(150, PLAIN_VIF, NOW)).toBe(Number(REJECT_BURST));
  expect(answers(1, VIF, NOW + REJECT_INTERVAL - 1n)).toBe(0);
  expect(answers(9, VIF, NOW + REJECT_INTERVAL)).toBe(1);
  expect(answers(150, VIF, NOW + 10n * S)).toBe(Number(REJECT_BURST));
});

test("a RST, and a vif that drops, take nothing from the rate of refusals", () => {
  const state = exampleState();
  const rst = tcpFrame({ ...guestTcp, destinationPort: 9, flags: TCP_FLAG.rst });
  step(state, { side: "vif", ifindex: VIF, frame: rst, now: NOW });
  step(state, {
    side: "vif",
    ifindex: PLAIN_VIF,
    frame: udpFrame({ ...guestTcp, destinationPort: 9 }),
    now: NOW,
  });
  expect([...state.vifs.values()].map(({ rejectAt }) => rejectAt)).toEqual([0n, 0n]);
});

test("events: opened, closed, limit, conflict, spoofed", () => {
  const flow = {
    vif: VIF,
    protocol: "tcp",
    guest: "10.0.1.3",
    guestPort: 40000,
    service: SERVICES[0],
    servicePort: 80,
  };
  const state = exampleState();
  const syn = tcpFrame({ ...guestTcp, flags: TCP_FLAG.syn });
  const events = (frame: Uint8Array, now = NOW) =>
    step(state, { side: "vif", ifindex: VIF, frame, now }).events;
  expect(events(syn)).toEqual([{ kind: "flow-opened", flow }]);
  expect(events(syn)).toEqual([]);
  expect(events(syn, NOW + 61n * S)).toEqual([
    { kind: "flow-closed", flow },
    { kind: "flow-opened", flow },
  ]);
  state.settings.maxFlows = 1;
  const other = { ...flow, guestPort: 40001 };
  expect(events(tcpFrame({ ...guestTcp, sourcePort: 40001, flags: TCP_FLAG.syn }))).toEqual([
    { kind: "limit", flow: other },
  ]);
  expect(events(tcpFrame({ ...guestTcp, source: "10.0.1.4" }))).toEqual([
    { kind: "spoofed", vif: VIF, guest: "10.0.1.4", service: SERVICES[0], mac: MACS[0] },
  ]);
  const claim = CASES.find(({ row }) => row === "A3")!.input.frame;
  expect(events(claim)).toEqual([{ kind: "conflict", vif: VIF, service: SERVICES[0], mac: MACS[0] }]);
});

test("choices that the rules forbid are refused", () => {
  const syn: StepInput = {
    side: "vif",
    ifindex: VIF,
    frame: udpFrame({ ...guestTcp, destination: SERVICES[1]!, destinationPort: 53 }),
    now: NOW,
  };
  const withPort = (port: number | undefined) => ({ ...firstFree, port: () => port });
  expect(() => step(exampleState(), syn, { ...firstFree, backend: (count) => count })).toThrow(RangeError);
  expect(() => step(exampleState(), syn, withPort(60999))).toThrow("port 60999 was chosen");
  const state = exampleState();
  step(state, syn, withPort(65535));
  expect(() => step(state, { ...syn, ifindex: PLAIN_VIF }, withPort(65535))).toThrow(RangeError);
  expect(step(state, { ...syn, ifindex: PLAIN_VIF }, withPort(undefined)).reason).toBe("no-port");
});

test("a changed configuration leaves what was seen of a vif", () => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  const before = state.vifs.get(VIF)!;
  setVif(state, VIF, { ...before, addresses: ["10.0.1.9"] });
  expect(state.vifs.get(VIF)).toEqual({ ...before, addresses: ["10.0.1.9"] });
  expect(state.vifs.get(VIF)).toMatchObject({ flows: 1, learned: { address: "10.0.1.3", mac: MACS[0] } });
});

test("a fabric port that the range has no more is the host's again", () => {
  const state = exampleState();
  const query = udpFrame({ ...guestTcp, destination: SERVICES[1]!, destinationPort: 53 });
  const fields = { ...serverTcp, source: "192.0.2.53", destination: "198.51.100.7" };
  const frame = udpFrame({ ...fields, sourcePort: 53, destinationPort: 61000 });
  step(state, { side: "vif", ifindex: VIF, frame: query, now: NOW });
  const answer: StepInput = { side: "fabric", ifindex: FABRIC, frame, now: NOW };
  for (const [min, max] of [
    [60000, 60999],
    [61001, 65535],
  ] as const) {
    state.settings.fabricPorts = { min, max };
    expect(step(state, answer).verdict.kind).toBe("untouched");
  }
  state.settings.fabricPorts = { min: 61000, max: 61000 };
  expect(step(state, answer).reason).toBe("returned");
});

test("whole packets are not remembered as fragments", () => {
  const state = exampleState();
  tcpStep(state, "guest", TCP_FLAG.syn, NOW);
  expect(state.fragments.size).toBe(0);
});

test("a sweep forgets fragments after their time and no sooner", () => {
  const state = exampleState();
  const first = echoRequest({ ...guestTcp, identifier: 1, sequence: 1, ip: { moreFragments: true } });
  step(state, { side: "vif", ifindex: VIF, frame: first, now: NOW });
  sweep(state, NOW + FRAGMENT_LIFETIME);
  expect(state.fragments.size).toBe(1);
  sweep(state, NOW + FRAGMENT_LIFETIME + 1n);
  expect(state.fragments.size).toBe(0);
});
