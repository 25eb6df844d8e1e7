#!/usr/bin/env bash
# Says what of all that is needed is missing on this machine, at once and with one line to run. As root on Debian it
# installs that itself.
#
# Usage: tools/require.sh NEED…, of those below
set -euo pipefail

# has NEED
has() {
  case $1 in
    # A compiler alone has no C library to link with.
    cc) echo '#include <stdlib.h>
int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null ;;
    node) command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null ;;
    python-grpc) /usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null ;;
    ruby-grpc) /usr/bin/ruby -e 'require "grpc"' 2>/dev/null ;;
    fonts) [[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]] ;;
    root) [[ $(id -u) == 0 ]] ;;
    # Root gets it by tools/docker/engine.
    docker) [[ $(id -u) == 0 ]] || { docker compose version && docker info; } >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# packages NEED prints those of Debian, if it is in any.
packages() {
  case $1 in
    cc) echo gcc libc6-dev ;;
    curl) echo curl ca-certificates ;;
    python-grpc) echo python3 python3-grpcio python3-protobuf ;;
    ruby-grpc) echo ruby ruby-grpc ;;
    fonts) echo fonts-dejavu-core ;;
    mkfs.ext4) echo e2fsprogs ;;
    mount) echo mount ;;
    unshare) echo util-linux ;;
    dpkg-deb) echo dpkg ;;
    xz) echo xz-utils ;;
    systemd-analyze) echo systemd ;;
    git | make | kcat | chromium | perl | lintian | tar | gzip) echo "$1" ;;
  esac
}

# otherwise NEED says where it is to be had.
otherwise() {
  case $1 in
    go) echo "Go, of the version in go.mod or later: https://go.dev/doc/install" ;;
    node) echo "Node 20 or later, with npm: https://nodejs.org/" ;;
    apt-get) echo "Debian, or another distribution with apt-get, from whose packages some programs are taken" ;;
    root) echo "root, who alone may mount file systems and change users" ;;
    docker) echo "a Docker engine with compose; tools/docker/engine gets it as root on Debian" ;;
    *) echo "$1" ;;
  esac
}

debian=() others=()
for need in "$@"; do
  if has "$need"; then
    continue
  elif [[ $(packages "$need") ]]; then
    debian+=($(packages "$need"))
  else
    others+=("$(otherwise "$need")")
  fi
done

if ((${#others[@]})); then
  printf 'missing: %s\n' "${others[@]}" >&2
fi
if ((${#debian[@]})); then
  install="apt-get update -qq && apt-get install -y --no-install-recommends ${debian[*]}"
  if ((${#others[@]} == 0)) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "install ${debian[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${debian[@]}" >&2
    exit
  fi
  become="sudo sh -c"
  command -v sudo >/dev/null || become="su -c"
  printf "missing: Debian packages. Run\n\n  %s '%s'\n\n" "$become" "$install" >&2
fi
((${#others[@]} + ${#debian[@]} == 0))
