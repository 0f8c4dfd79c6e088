#!/bin/sh
# Fetches Debian's cloud kernel and the modules that VMs of the tests load into .cache/vm. The package is unpacked, not
# installed: installing would run its hooks. Does nothing when all is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.cache/vm

# What a guest needs; to share the host's files; what onlink and a lab need.
modules='
	virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net
	fuse virtiofs overlay
	veth tun llc stp bridge sch_ingress cls_bpf'

complete() {
	[ -e "$1/vmlinuz" ] || return 1
	for module in $modules; do
		[ -e "$1/modules/$module.ko" ] || return 1
	done
}
if complete "$target"; then
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
dpkg-deb --fsys-tarfile "$work"/linux-image-*.deb | tar -x -C "$work/unpacked" --wildcards './boot/vmlinuz-*' '*.ko'
mv "$work"/unpacked/boot/vmlinuz-* "$work/vm/vmlinuz"
for module in $modules; do
	find "$work/unpacked" -name "$module.ko" -exec mv {} "$work/vm/modules/" \;
done
if ! complete "$work/vm"; then
	echo "fetch-vm-kernel: $package lacks one of these modules:" $modules >&2
	exit 1
fi

# Last and in one step, so that a run that was interrupted leaves no half of it.
rm -rf "$target"
mv "$work/vm" "$target"
