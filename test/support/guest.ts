import { type Guest, type Lab, openLab } from "../../src/lab/lab.ts";

/** A lab with one on-link guest behind a veth, 10.0.1.3, whose gateway nobody on the host holds. */
export async function openLabWithGuest(): Promise<{ lab: Lab; guest: Guest }> {
  const lab = await openLab();
  const guest = await lab.addGuest({
    name: "red",
    link: "veth",
    behaviour: "on-link",
    address: "10.0.1.3/24",
    gateway: "10.0.1.1",
    gatewayOnHost: false,
  });
  return { lab, guest };
}
