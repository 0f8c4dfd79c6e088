#!/bin/bash
# The lab makes network namespaces and the datapath is loaded into the kernel: both want root.
if [ "$(id -u)" -ne 0 ]; then
  echo 'This needs root: it makes network namespaces and loads eBPF programs. Run it with sudo, or as root.' >&2
  exit 1
fi
