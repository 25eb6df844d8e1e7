#!/usr/bin/env bash
# Installs Debian packages where a command is missing, or a library of Debian's Python or Ruby, or says which ones to
# install.
#
# Usage: tools/require.sh COMMAND PACKAGE…
#        tools/require.sh python3:MODULE PACKAGE…
#        tools/require.sh ruby:LIBRARY PACKAGE…
set -euo pipefail

command=$1
shift
case $command in
  python3:*) /usr/bin/python3 -c "import ${command#python3:}" 2>/dev/null && exit ;;
  ruby:*) /usr/bin/ruby -e "require '${command#ruby:}'" 2>/dev/null && exit ;;
  *) command -v "$command" >/dev/null && exit ;;
esac

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "$command is missing: as root, run apt-get install $*" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@"
