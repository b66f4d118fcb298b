#!/usr/bin/env bash
# Makes sure there is Node.js 20 or newer with npm, for the acceptance suite. Installs it where the system has it.
set -euo pipefail

fresh() { command -v npm >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" -ge 20 ]; }

fresh && exit
if command -v apt-get >/dev/null; then
  echo "node: installing nodejs and npm" >&2
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  $root apt-get update >/dev/null && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm >/dev/null
  fresh && exit
fi
echo "node: please install Node.js 20 or newer with npm" >&2
exit 1
