#!/bin/bash
# Installs the npm packages of the lock file. npm's own output is shown only when it fails.
set -euo pipefail

if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  echo "Node.js $(node --version) is too old: onlink needs 20.19 or later" >&2
  exit 1
fi
if [ -L node_modules ]; then
  echo 'node_modules is a symbolic link, and npm ci would empty the folder behind it; remove the link, or install there' >&2
  exit 1
fi
echo 'Installing npm packages'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! npm ci >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo 'npm ci failed (above, its last words)' >&2
  exit 1
fi
