import { type Guest, type Lab, openLab } from "../../src/lab/lab.ts";
import type { GuestSpec } from "../../src/lab/topology.ts";

/** The guest of most tests and benchmarks: on-link, behind a veth, its gateway held by the host. */
export const WEB = {
  name: "web",
  link: "veth",
  behaviour: "on-link",
  address: "10.0.1.3/24",
  gateway: "10.0.1.1",
} as const satisfies GuestSpec;

/** A lab with one on-link guest behind a veth, 10.0.1.3, whose gateway nobody on the host holds. */
export async function openLabWithGuest(): Promise<{ lab: Lab; guest: Guest }> {
  const lab = await openLab();
  const guest = await lab.addGuest({ ...WEB, name: "red", gatewayOnHost: false });
  return { lab, guest };
}
