#!/bin/bash
# Installs Debian packages where they are missing: those that building and the demo need, or those that the tests or the benchmarks need besides.
# Usage: scripts/install-system.sh build|test|bench
set -euo pipefail

build=(
  clang libbpf-dev libbpf1 libc6-dev linux-libc-dev # build and load the datapath
  iproute2 util-linux mount procps curl             # the lab, the demo
)
test=(
  iputils-ping iputils-arping bind9-dnsutils iperf3 ethtool netsniff-ng tcpdump bpftool # real clients
  avahi-autoipd dhcpcd-base systemd   # hosts that choose their own link-local address
  dnsmasq-base                        # a DHCP server
  qemu-system-x86 busybox-static cpio # virtual machines
  cloud-init                          # what guests boot with
  libpcap0.8 tshark                   # captures
)
bench=(
  "${test[@]}"
  haproxy nginx-light nftables farpd # the peers
  linux-perf                         # where the time goes
)
case "${1-}" in
  build) packages=("${build[@]}") ;;
  test) packages=("${test[@]}") ;;
  bench) packages=("${bench[@]}") ;;
  *) echo 'usage: scripts/install-system.sh build|test|bench' >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "Missing Debian packages: ${missing[*]}" >&2
  echo "Run this as root to have them installed, or: apt-get install ${missing[*]}" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "This is not Debian: install what these packages hold by your own means, then try again: ${missing[*]}" >&2
  exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get could not install them (above, its last words): mend that, then try again" >&2
  exit 1
fi
