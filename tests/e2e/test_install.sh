#!/bin/bash
# What is installed can be used: the examples of docs/examples compile through pkg-config against an installed tree in a temporary prefix, shared
# and static, as C and as C++, and run; the shared library exports nothing but the public headers' functions.
#
#   test_install.sh SOURCE BUILD LAPSED
set -eu
source=$(realpath "$1") build=$(realpath "$2") lapsed=$(realpath "$3")
work=$(mktemp -d)
node=
finish() {
    if [[ -n $node ]]; then kill -9 "$node" 2>/dev/null; wait "$node" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

DESTDIR=$work meson install -C "$build" --no-rebuild >"$work/install.log" || { cat "$work/install.log"; exit 1; }
pc=$(find "$work" -name lapse.pc)
lib=$(dirname "$(dirname "$pc")")
if nm -D "$lib/liblapse.so" | grep -q __asan_init; then
    echo "built with sanitizers: programs linked by a plain compiler can't use it"
    exit 77
fi
export PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$work LD_LIBRARY_PATH=$lib

exported=$(nm -D --defined-only "$lib/liblapse.so" | awk '{print $3}' | sed 's/@.*//' | grep -v '^LAPSE_')
declared=$(grep -hoE '\blapse_[a-z_]+\(' $source/client/lapse*.h "$source/base/result.h" | tr -d '(' | sort -u)
for name in $exported; do
    grep -qx "$name" <<<"$declared" || { echo "exported, but in no public header: $name"; exit 1; }
done

for example in revoke watch guard; do
    cc -Wall -Wextra -Werror "$source/docs/examples/$example.c" $(pkg-config --cflags --libs lapse) -pthread -o "$work/$example"
done
cc -Wall "$source/docs/examples/revoke.c" $(pkg-config --cflags lapse) "$lib/liblapse.a" \
    $(PKG_CONFIG_SYSROOT_DIR= pkg-config --libs libuv openssl libnghttp2 libxxhash liburcu-bp) -lprotobuf-nanopb -pthread -o "$work/revoke-static"
echo '#include <lapse.h>
#include <lapse_guard.h>
int main() { return lapse_version()[0] == 0; }' >"$work/cxx.cc"
c++ -Wall -Wextra -Werror "$work/cxx.cc" $(pkg-config --cflags --libs lapse) -o "$work/cxx"
"$work/cxx"

mkdir -m 700 "$work/dev"
"$lapsed" --dev --dir "$work/dev" >"$work/node.log" 2>&1 &
node=$!
until grep -q '^Lapse is ready' "$work/node.log"; do
    kill -0 "$node" || { cat "$work/node.log"; exit 1; }
    sleep 0.05
done
. "$work/dev/env"
as() {
    local user=$1
    shift
    LAPSE_CERTIFICATE=$work/dev/pki/$user.pem LAPSE_KEY=$work/dev/pki/$user.key "$@"
}
lapse=$(find "$work" -path '*/bin/lapse')
grant=$(as dev1 "$lapse" request --resource db/prod/orders --action read --duration 1h --justification test --output id)
as oncall "$lapse" approve "$grant" >"$work/out"
as proxy1 "$work/watch" 'db/prod/*' 0 >"$work/out"
grep -q "$grant is ACTIVE" "$work/out"
as proxy1 "$work/guard" 'db/prod/*' spiffe://dev.lapse/user/dev1 db/prod/orders read >"$work/out"
grep -q "permitted by $grant" "$work/out"
as operator "$work/revoke" "$grant" "laptop lost" >"$work/out"
grep -q "$grant is REVOKED" "$work/out"
as operator "$work/revoke-static" "$grant" again >"$work/out" 2>&1 && { echo "a grant was revoked twice"; exit 1; }
grep -q FAILED_PRECONDITION "$work/out"
as proxy1 "$work/guard" 'db/prod/*' spiffe://dev.lapse/user/dev1 db/prod/orders read >"$work/out" && { echo "permitted after its end"; exit 1; }
grep -q "denied: NO_GRANT" "$work/out"
echo "installed tree works"
