/** cloud-init, as it runs at the boot of a guest. */
import type { Guest } from "../../src/lab/lab.ts";
import { output } from "./commands.ts";

/** What cloud-init has made of a guest. */
export interface BootedGuest {
  instanceId: string;
  hostname: string;
  /** `authorized_keys` of the user debian. */
  keys: string;
  /** The file that `USER_DATA` has it write. */
  written: string;
  /** The configuration of eth0, for systemd-networkd. */
  network: string;
}

/** User data that makes cloud-init write a file. */
export function userDataThatWrites(text: string): string {
  return `#cloud-config\nwrite_files: [{ path: /etc/from-user-data, content: ${JSON.stringify(text)} }]\n`;
}

/**
 * cloud-init has its files at fixed places, and finds out on which cloud it is from the firmware. So it runs in a root of its own: an overlay
 * over the lab's, with another /sys in which the firmware is the cloud's. All of it ends with the process.
 */
const BOOT = `
set -e
top=/run/boot
mkdir -p $top
mount -t tmpfs tmpfs $top
cd $top
mkdir upper work root sysfs
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
mount -t sysfs sysfs sysfs
cd root
mount -t proc proc proc
mount --rbind /dev dev
for own in run tmp var/lib/cloud sys; do mkdir -p $own; mount -t tmpfs tmpfs $own; done
mkdir -p sys/class/net sys/devices sys/class/dmi/id
mount --bind ../sysfs/class/net sys/class/net
mount --bind ../sysfs/devices sys/devices
if [ "$1" = Ec2 ]; then
  echo ec2e1916-9099-7caf-fd21-012345abcdef | tee sys/class/dmi/id/product_uuid >sys/class/dmi/id/product_serial
else
  echo OpenStack Nova >sys/class/dmi/id/product_name
fi
# The tests may run in a container, the guest does not.
printf '#!/bin/sh\\nexit 1\\n' >usr/bin/systemd-detect-virt
rm -rf etc/cloud/cloud.cfg.d etc/resolv.conf
# cloud-init asks for a few names; at once there is nobody to answer, instead of after a while.
echo nameserver 127.0.0.1 >etc/resolv.conf
cat >etc/cloud/cloud.cfg <<END
datasource_list: [$1]
datasource: { $1: { max_wait: 30, timeout: 10, retries: 0 } }
cloud_init_modules: [write-files, set_hostname, users-groups, ssh]
ssh_genkeytypes: [ed25519]
users: [default]
system_info:
  distro: debian
  default_user: { name: debian, shell: /bin/sh }
  network: { renderers: [networkd], activators: [networkd] }
END
chroot . cloud-init init >init.log 2>&1 || { cat init.log >&2; exit 1; }
show() { echo "== $1"; cat $2; echo; }
show instanceId var/lib/cloud/data/instance-id
show hostname proc/sys/kernel/hostname
show keys home/debian/.ssh/authorized_keys
show written etc/from-user-data
show network etc/systemd/network/10-cloud-init-eth0.network
`;

const NAMESPACES = [
  "--mount",
  "--pid",
  "--uts",
  "--fork",
  "--kill-child",
  "--mount-proc",
  "--propagation",
  "private",
];

/** Boots a guest as far as cloud-init goes, with one of its data sources and nothing of an earlier boot. */
export async function bootWithCloudInit(guest: Guest, datasource: "Ec2" | "OpenStack"): Promise<BootedGuest> {
  const shown = await output(guest, ["unshare", ...NAMESPACES, "/bin/sh", "-c", BOOT, "boot", datasource]);
  const parts = shown.split(/^== (\w+)\n/m).slice(1);
  const pairs = Array.from({ length: parts.length / 2 }, (_, at) => [
    parts[2 * at],
    parts[2 * at + 1]?.trim(),
  ]);
  return Object.fromEntries(pairs);
}
