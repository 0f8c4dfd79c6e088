#!/bin/sh
# Fetches Debian's cloud kernel and its virtio modules into .cache/vm, for the VM tests. The package is unpacked, not
# installed: installing would run its hooks. Does nothing when the kernel is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.cache/vm

if [ -e "$target/vmlinuz" ]; then
	exit 0
fi

# linux-image-cloud-amd64 is empty and depends on the kernel of the day.
kernel_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }'
}
package=$(kernel_package)
if [ -z "$package" ]; then
	apt-get update -q >/dev/null
	package=$(kernel_package)
fi
if [ -z "$package" ]; then
	echo "fetch-vm-kernel: apt knows no linux-image-cloud-amd64; this needs Debian's package archive (main) on amd64" >&2
	exit 1
fi

mkdir -p "$root/.cache"
work=$(mktemp -d "$root/.cache/vm-fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt drops its privileges to _apt for the download, and warns when that user cannot write here: root may do it.
(cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$package")

mkdir "$work/unpacked" "$work/vm" "$work/vm/modules"
dpkg-deb --fsys-tarfile "$work"/linux-image-*.deb | tar -x -C "$work/unpacked" --wildcards \
	'./boot/vmlinuz-*' '*/drivers/virtio/*.ko' '*/drivers/net/virtio_net.ko' '*/drivers/net/net_failover.ko' '*/net/core/failover.ko'
mv "$work"/unpacked/boot/vmlinuz-* "$work/vm/vmlinuz"
find "$work/unpacked" -name '*.ko' -exec mv {} "$work/vm/modules/" \;

# Last and in one step, so that a run that was interrupted leaves no half of it.
rm -rf "$target"
mv "$work/vm" "$target"
