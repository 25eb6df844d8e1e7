#!/usr/bin/env bash
# Installs Debian packages where a command is missing, or says which ones to install.
#
# Usage: tools/require.sh COMMAND PACKAGE…
set -euo pipefail

command=$1
shift
command -v "$command" >/dev/null && exit

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "$command is missing: as root, run apt-get install $*" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@"
