# What the scripts share. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Never older: 0.15 commits entries of old terms by counting replicas.
libraft_min=0.22.1

# All that is needed to build and to run; libraft-dev comes by itself, see install_libraft.
packages=(
  meson ninja-build pkg-config gcc libc6-dev clang libclang-rt-dev git
  libuv1-dev libssl-dev libnghttp2-dev nanopb libnanopb-dev libmicrohttpd-dev libjansson-dev libyaml-dev libinih-dev libsystemd-dev
  zlib1g-dev liburcu-dev libxxhash-dev libsqlite3-dev libcurl4-openssl-dev protobuf-compiler
  libcriterion-dev python3-grpcio python3-grpc-tools python3-protobuf curl iproute2 libpam0g-dev
)
# What the tests put Lapse beside. Servers: see install_quietly.
test_packages=(nginx haproxy pamtester sudo openssh-client openssh-server etcd-server redis-server libhiredis-dev gnuplot-nox)
# What scripts/bench-peers measures Lapse beside, and draws with; without hiredis Lapse is built without the Redis kind.
bench_packages=(nginx etcd-server redis-server libhiredis-dev zookeeper default-jre-headless nats-server gnuplot-nox)

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

say() {
  printf '%s\n' "== $*"
}

# Prints the comment at the top of the script: its help.
usage() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root and there is no sudo; run as root: $*"
  fi
}

installed_version() {
  dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | head -n 1
}

# missing_packages PACKAGE...
missing_packages() {
  local package
  for package in "$@"; do
    [ -n "$(installed_version "$package")" ] || printf '%s\n' "$package"
  done
}

# Installs packages without starting the services that some of them bring: the tests start their own.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d mine=false status=0
  if [ ! -e "$policy" ]; then
    mine=true
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" || status=$?
  if $mine; then as_root rm -f "$policy"; fi
  return "$status"
}

libraft_is_there() {
  local version
  version=$(installed_version libraft-dev)
  [ -n "$version" ] && dpkg --compare-versions "$version" ge "$libraft_min~"
}

# The newest libraft-dev that apt knows and that is new enough; empty when there is none.
libraft_offered() {
  local version
  for version in $(apt-cache madison libraft-dev | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | sort -rVu); do
    if dpkg --compare-versions "$version" ge "$libraft_min~"; then
      printf '%s\n' "$version"
      return
    fi
  done
}

# The mirror this machine already uses, so that a private one is used for backports, too.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v codename="$1" '$2 == codename && $3 == "main" { print $1; exit }'
}

add_backports() {
  local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  mirror=$(debian_mirror "$1")
  [ -n "$mirror" ] || die "no apt source of Debian $1 is set up; add its backports suite, then run this again"
  say "adding $1-backports from $mirror"
  {
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$mirror" "$1"
    [ ! -f "$keyring" ] || printf 'Signed-By: %s\n' "$keyring"
  } | as_root tee /etc/apt/sources.list.d/lapse-backports.sources >/dev/null
  as_root apt-get update -q
}

# Debian 13 has it in main, Debian 12 in backports only.
install_libraft() {
  local codename suite=()
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  if [ -z "$(libraft_offered)" ] && [ "$codename" = bookworm ]; then
    add_backports "$codename"
  fi
  [ -n "$(libraft_offered)" ] || die "apt offers no libraft-dev >= $libraft_min; use Debian 12 with backports, or Debian 13"
  [ "$codename" != bookworm ] || suite=(-t "$codename-backports")
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${suite[@]}" libraft-dev
}

# The compiler, through ccache where there is one.
compiler() {
  if command -v ccache >/dev/null; then
    printf 'ccache %s' "$1"
  else
    printf '%s' "$1"
  fi
}

# Sets a build directory up, or again when its options have changed, and builds. configure_and_build DIR CC OPTION...
configure_and_build() {
  local dir=$1 cc=$2 reconfigure=()
  shift 2
  [ ! -d "$dir/meson-private" ] || reconfigure=(--reconfigure)
  CC=$(compiler "$cc") meson setup "${reconfigure[@]}" "$dir" "$root" "$@" >"$dir.log" 2>&1 || {
    cat "$dir.log" >&2
    return 1
  }
  rm -f "$dir.log"
  ninja -C "$dir"
}
