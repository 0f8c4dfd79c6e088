/**
 * The cable of a tap guest, run as a process of a lab: `node tap-pump.js VIF NAMESPACE DEVICE` takes the tap VIF of
 * the host, makes a tap DEVICE in the network namespace at the path NAMESPACE, and carries frames between them, as a
 * VMM does for a VM. Writes `ready` when both are there.
 */
import { openSync } from "node:fs";
import { openTap, type Tap } from "../linux/tun.ts";

const [vifName, namespace, device] = process.argv.slice(2) as [string, string, string];

function fail(error: Error): never {
  console.error(`tap-pump ${vifName}: ${error.message}`);
  process.exit(1);
}

/** A device that is down takes no frame (EIO): it is lost, as on a cable whose other end is unplugged. */
function carry(frame: Buffer, to: Tap): void {
  try {
    to.send(frame);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EIO") throw error;
  }
}

const vif: Tap = openTap(vifName, (frame) => carry(frame, guest), fail);
const guest: Tap = openTap(device, (frame) => carry(frame, vif), fail, {
  namespaceFd: openSync(namespace, "r"),
});
console.log("ready");
