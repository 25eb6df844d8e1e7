#!/usr/bin/env bash
# Puts the named tools at .tools/NAME, unless the wanted version is there already.
# Go tools are built from the versions in tools/*.mod, and azurite is got by npm; the rest are unpacked from
# Debian packages without installing them, so that no service starts and no root is needed.
#
# Usage: tools/fetch.sh NAME…
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${TOOLS:-.tools}
mkdir -p "$tools"

# go_tool NAME MODFILE PACKAGE MODULE [TAGS]; with CGO=1 in the environment it is linked with C.
go_tool() {
  local name=$1 modfile=$2 package=$3 module=$4 tags=${5:-} version target
  version=$(awk -v module="$module" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$modfile")
  target=$name-$version
  if [[ ! -x $tools/$target ]]; then
    CGO_ENABLED=${CGO:-0} tools/told "build $name $version, once, for some minutes" \
      go build -v -trimpath -buildvcs=false -modfile="$modfile" -tags="$tags" -o "$tools/$target.$$" "$package"
    mv "$tools/$target.$$" "$tools/$target"
  fi
  ln -sfn "$target" "$tools/$name"
}

# debian NAME PACKAGE… unpacks packages of this machine's Debian release into .tools/NAME-debian.
debian() {
  local name=$1 target=$tools/$1-debian debs package
  shift
  [[ -d $target ]] && return
  command -v apt-get >/dev/null || fail "$name comes from Debian's package $1, and this is not Debian"
  echo "fetch $name from Debian's packages $*" >&2
  debs=$(mktemp -d)
  # The package lists may be missing or old.
  download "$debs" "$@" 2>/dev/null || {
    lists
    download "$debs" "$@" || fail "cannot download Debian's $*"
  }
  for package in "$debs"/*.deb; do
    dpkg -x "$package" "$debs/root"
  done
  mv "$debs/root" "$target"
  rm -r "$debs"
}

# lists gets the package lists: for this machine as root, otherwise for this script alone.
lists() {
  if [[ $(id -u) != 0 ]]; then
    local state=$PWD/$tools/apt
    [[ $tools != /* ]] || state=$tools/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    printf '%s\n' "Dir::State::Lists \"$state/lists\";" "Dir::Cache \"$state/cache\";" "Debug::NoLocking \"1\";" >"$state/apt.conf"
    export APT_CONFIG=$state/apt.conf
  fi
  apt-get update -qq >&2
}

# download DIR PACKAGE…
download() (
  cd "$1"
  shift
  apt-get -o APT::Sandbox::User=root download -qq "$@" >&2
)

prometheus2() {
  debian prometheus2 prometheus
  ln -sfn prometheus2-debian/usr/bin/prometheus "$tools/prometheus2"
  "$tools/prometheus2" --version 2>&1 | grep -q 'version 2\.' || fail "this Debian's prometheus is not a 2.x"
}

# exporters puts programs that have metrics at .tools, without Debian's prefix.
exporters() {
  local name
  debian exporters prometheus-node-exporter prometheus-pushgateway
  for name in node-exporter pushgateway; do
    ln -sfn "exporters-debian/usr/bin/prometheus-$name" "$tools/$name"
  done
}

# script NAME UNPACKED PROGRAM puts a script at .tools/NAME that runs a program of the unpacked packages, which does not
# find its libraries by itself.
script() {
  cat >"$tools/$1" <<SCRIPT
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/$2-debian
libraries=\$(echo "\$root"/usr/lib/*-linux-gnu)
LD_LIBRARY_PATH=\$libraries exec "\$root/$3" "\$@"
SCRIPT
  chmod +x "$tools/$1"
}

haproxy() {
  debian haproxy haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
  script haproxy haproxy usr/sbin/haproxy
  "$tools/haproxy" -v >/dev/null || fail "haproxy does not start: run 'apt-get install haproxy' as root"
}

# azurite is installed beside the version that tools/azurite locks. None of its packages needs its install script.
azurite() {
  local version target
  version=$(awk -F '"' '$2 == "azurite" { print $4 }' tools/azurite/package.json)
  target=$tools/azurite-$version
  if [[ ! -d $target ]]; then
    mkdir "$target.$$"
    cp tools/azurite/package.json tools/azurite/package-lock.json "$target.$$"
    tools/told "get azurite $version, once" env -C "$target.$$" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    mv "$target.$$" "$target"
  fi
  cat >"$tools/azurite" <<SCRIPT
#!/bin/sh
exec node "\$(dirname "\$(readlink -f "\$0")")/azurite-$version/node_modules/azurite/dist/src/blob/main.js" "\$@"
SCRIPT
  chmod +x "$tools/azurite"
}

# protoc also puts gRPC's plugins for Python and Ruby at .tools. They are of the release whose libraries run what they
# generate.
protoc() {
  debian protoc protobuf-compiler protobuf-compiler-grpc libprotobuf32 libprotoc32 libgrpc29
  script protoc protoc usr/bin/protoc
  script grpc_python_plugin protoc usr/bin/grpc_python_plugin
  script grpc_ruby_plugin protoc usr/bin/grpc_ruby_plugin
  "$tools/protoc" --version >/dev/null || fail "protoc does not start: run 'apt-get install protobuf-compiler-grpc' as root"
}

fail() {
  echo "fetch.sh: $*" >&2
  exit 1
}

for name in "$@"; do
  case $name in
    buf) go_tool buf tools/buf.mod github.com/bufbuild/buf/cmd/buf github.com/bufbuild/buf ;;
    grpcurl) go_tool grpcurl tools/grpcurl.mod github.com/fullstorydev/grpcurl/cmd/grpcurl github.com/fullstorydev/grpcurl ;;
    protoc-gen-go) go_tool "$name" tools/go.mod google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/protobuf ;;
    protoc-gen-go-grpc) go_tool "$name" tools/go.mod google.golang.org/grpc/cmd/protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc ;;
    protoc-gen-connect-go) go_tool "$name" tools/go.mod connectrpc.com/connect/cmd/protoc-gen-connect-go connectrpc.com/connect ;;
    protoc-gen-connect-openapi) go_tool "$name" tools/go.mod github.com/sudorandom/protoc-gen-connect-openapi github.com/sudorandom/protoc-gen-connect-openapi ;;
    protoc-gen-doc) go_tool "$name" tools/go.mod github.com/pseudomuto/protoc-gen-doc/cmd/protoc-gen-doc github.com/pseudomuto/protoc-gen-doc ;;
    actionlint) go_tool actionlint tools/actionlint.mod github.com/rhysd/actionlint/cmd/actionlint github.com/rhysd/actionlint ;;
    cyclonedx-gomod) go_tool cyclonedx-gomod tools/cyclonedx.mod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod ;;
    govulncheck) go_tool govulncheck tools/govulncheck.mod golang.org/x/vuln/cmd/govulncheck golang.org/x/vuln ;;
    deadcode) go_tool deadcode tools/deadcode.mod golang.org/x/tools/cmd/deadcode golang.org/x/tools ;;
    golangci-lint) go_tool golangci-lint tools/golangci.mod github.com/golangci/golangci-lint/v2/cmd/golangci-lint github.com/golangci/golangci-lint/v2 ;;
    consul) go_tool consul tools/consul.mod github.com/hashicorp/consul github.com/hashicorp/consul ;;
    prometheus3) go_tool prometheus3 tools/prometheus.mod github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus remove_all_sd,enable_consul_sd,enable_dns_sd ;;
    promtool) go_tool promtool tools/prometheus.mod github.com/prometheus/prometheus/cmd/promtool github.com/prometheus/prometheus remove_all_sd,enable_consul_sd,enable_dns_sd ;;
    prometheus2) prometheus2 ;;
    haproxy) haproxy ;;
    exporters) exporters ;;
    vmagent | victoria-metrics)
      # As released, with the compressor in C.
      CGO=1 go_tool "$name" tools/victoriametrics.mod "github.com/VictoriaMetrics/VictoriaMetrics/app/$name" github.com/VictoriaMetrics/VictoriaMetrics ;;
    thanos) go_tool thanos tools/thanos.mod github.com/thanos-io/thanos/cmd/thanos github.com/thanos-io/thanos slicelabels ;;
    versitygw) go_tool versitygw tools/versitygw.mod github.com/versity/versitygw/cmd/versitygw github.com/versity/versitygw ;;
    azurite) azurite ;;
    fake-gcs-server) go_tool fake-gcs-server tools/fakegcsserver.mod github.com/fsouza/fake-gcs-server github.com/fsouza/fake-gcs-server ;;
    protoc) protoc ;;
    *) fail "unknown tool: $name" ;;
  esac
done
