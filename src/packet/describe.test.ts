import { expect, test } from "vitest";
import {
  arpAnnouncement,
  arpProbe,
  arpReply,
  echoRequest,
  ethernetFrame,
  icmpError,
  ipv4Frame,
  tcpFrame,
  udpFrame,
} from "./build.ts";
import { describeFrame } from "./describe.ts";
import { windowsArpRequest } from "./fixtures.ts";
import { fragmentFrame } from "./fragment.ts";
import { TCP_FLAG } from "./tcp.ts";

const GUEST_MAC = "02:00:0a:00:01:03";
const ENDS = {
  sourceMac: GUEST_MAC,
  destinationMac: "00:00:5e:00:01:00",
  source: "10.0.1.3",
  destination: "169.254.169.254",
};
const TCP = { ...ENDS, sourcePort: 40000, destinationPort: 80 };
const UDP = { ...ENDS, sourcePort: 40001, destinationPort: 53 };
const MACS = "02:00:0a:00:01:03 > 00:00:5e:00:01:00, ";
const [first, , last] = fragmentFrame(
  udpFrame({ ...UDP, data: new Uint8Array(100), ip: { identification: 77 } }),
  40,
);

test.each([
  [
    windowsArpRequest(),
    "02:21:87:a4:05:0c > ff:ff:ff:ff:ff:ff, ARP request who-has 169.254.169.254 tell 172.31.0.7, length 42",
  ],
  [
    arpReply({
      senderMac: "00:00:5e:00:01:00",
      senderAddress: "169.254.169.254",
      targetMac: GUEST_MAC,
      targetAddress: "10.0.1.3",
      padTo: 60,
    }),
    "00:00:5e:00:01:00 > 02:00:0a:00:01:03, ARP reply 169.254.169.254 is-at 00:00:5e:00:01:00, length 60",
  ],
  [
    arpProbe({ senderMac: GUEST_MAC, targetAddress: "169.254.1.1" }),
    "02:00:0a:00:01:03 > ff:ff:ff:ff:ff:ff, ARP probe who-has 169.254.1.1, length 42",
  ],
  [
    arpAnnouncement({ senderMac: GUEST_MAC, address: "169.254.1.1" }),
    "02:00:0a:00:01:03 > ff:ff:ff:ff:ff:ff, ARP announcement 169.254.1.1 is-at 02:00:0a:00:01:03, length 42",
  ],
  [
    arpProbe({ senderMac: GUEST_MAC, targetAddress: "169.254.1.1", arp: { operation: 9 } }),
    "02:00:0a:00:01:03 > ff:ff:ff:ff:ff:ff, ARP operation 9, length 42",
  ],
  [
    tcpFrame({ ...TCP, flags: TCP_FLAG.syn, tcp: { sequence: 1 } }),
    `${MACS}IP 10.0.1.3:40000 > 169.254.169.254:80: TCP [S] seq 1, win 64240, data 0, length 54`,
  ],
  [
    tcpFrame({
      ...TCP,
      flags: TCP_FLAG.psh | TCP_FLAG.ack,
      tcp: { acknowledgement: 5 },
      data: new Uint8Array(3),
    }),
    `${MACS}IP 10.0.1.3:40000 > 169.254.169.254:80: TCP [P.] seq 0, ack 5, win 64240, data 3, length 57`,
  ],
  [
    tcpFrame(TCP),
    `${MACS}IP 10.0.1.3:40000 > 169.254.169.254:80: TCP [none] seq 0, win 64240, data 0, length 54`,
  ],
  [
    udpFrame({ ...UDP, data: new Uint8Array(3), udp: { checksum: 0 } }),
    `${MACS}IP 10.0.1.3:40001 > 169.254.169.254:53: UDP data 3, no checksum, length 45`,
  ],
  [first!, `${MACS}IP 10.0.1.3:40001 > 169.254.169.254:53: UDP data 100, fragment 0-40 of id 77, length 74`],
  [
    last!,
    `${MACS}IP 10.0.1.3 > 169.254.169.254: protocol 17, data 28, fragment 80-108 (last) of id 77, length 62`,
  ],
  [
    echoRequest({ ...ENDS, identifier: 7, sequence: 1, data: new Uint8Array(4) }),
    `${MACS}IP 10.0.1.3 > 169.254.169.254: ICMP echo request, id 7, seq 1, data 4, length 46`,
  ],
  [
    icmpError({ ...ENDS, type: 3, code: 3, quoted: udpFrame(UDP).subarray(14) }),
    `${MACS}IP 10.0.1.3 > 169.254.169.254: ICMP port unreachable, about 10.0.1.3:40001 > 169.254.169.254:53 UDP, length 70`,
  ],
  [
    icmpError({ ...ENDS, type: 11, code: 0, quoted: new Uint8Array(3) }),
    `${MACS}IP 10.0.1.3 > 169.254.169.254: ICMP time exceeded, about a malformed packet (an IPv4 header has at least 20 bytes, here are 3), length 45`,
  ],
  [
    ipv4Frame({ ...ENDS, protocol: 47, payload: new Uint8Array(3) }),
    `${MACS}IP 10.0.1.3 > 169.254.169.254: protocol 47, data 3, length 37`,
  ],
  [
    tcpFrame({ ...TCP, vlanTags: [{ type: 0x8100, priority: 0, dropEligible: false, id: 5 }] }),
    `${MACS}vlan 5, IP 10.0.1.3:40000 > 169.254.169.254:80: TCP [none] seq 0, win 64240, data 0, length 58`,
  ],
  [
    tcpFrame({ ...TCP, ip: { headerLength: 16 } }),
    `${MACS}ipv4 malformed: ihl gives a header of 16 bytes, the least is 20, length 54`,
  ],
  [
    tcpFrame({ ...TCP, tcp: { headerLength: 16 } }),
    `${MACS}IP 10.0.1.3 > 169.254.169.254: tcp malformed: the data offset gives a header of 16 bytes, the least is 20, length 54`,
  ],
  [ethernetFrame({ ...ENDS, etherType: 0x86dd, payload: new Uint8Array(40) }), `${MACS}IPv6, length 54`],
  [
    ethernetFrame({ ...ENDS, etherType: 0x88cc, payload: new Uint8Array(1) }),
    `${MACS}ethertype 0x88cc, length 15`,
  ],
  [
    ethernetFrame({ ...ENDS, etherType: 38, payload: new Uint8Array(38) }),
    `${MACS}802.3 length 38, length 52`,
  ],
  [new Uint8Array(3), "malformed: the Ethernet header has 14 bytes, the frame 3"],
])("case %#", (bytes, line) => {
  expect(describeFrame(bytes)).toBe(line);
});
