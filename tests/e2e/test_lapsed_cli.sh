#!/usr/bin/env bash
# The command line of lapsed: what it refuses, what it says, and with which exit code. Usage: test_lapsed_cli.sh LAPSED SOURCE-ROOT
set -u
lapsed=$1
root=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
umask 077
failed=0
n=0

# expect CODE TEXT COMMAND...: the exit code, and a text (a fixed string) in what was said on either stream.
expect() {
  local code=$1 text=$2 out got
  shift 2
  n=$((n + 1))
  out=$("$@" 2>&1)
  got=$?
  if [ "$got" -ne "$code" ] || ! grep -qF -- "$text" <<<"$out"; then
    failed=$((failed + 1))
    printf 'FAILED: %s\n  expected exit code %s and "%s"\n  got %s: %s\n' "${*//$dir/DIR}" "$code" "$text" "$got" "$out"
  fi
}
# hold WHAT COMMAND...: the command succeeds.
hold() {
  local what=$1
  shift
  n=$((n + 1))
  "$@" || { failed=$((failed + 1)); printf 'FAILED: %s\n' "$what"; }
}

operator=spiffe://example.org/user/operator
members=1=127.0.0.1:7401,2=127.0.0.1:7411,3=127.0.0.1:7421
init() {
  "$lapsed" init --cluster prod --members "$members" --operator "$operator" "$@"
}

# --- help and version
expect 0 'Usage: lapsed' "$lapsed" --help
expect 0 '--raft-heartbeat-ms, LAPSED_RAFT_HEARTBEAT_MS' "$lapsed" --help
expect 0 'Usage: lapsed' "$lapsed" help
expect 0 'lapsed 0.' "$lapsed" --version
for command in init join verify; do
  expect 0 "Usage: lapsed $command" "$lapsed" "$command" --help
  expect 0 'Example' "$lapsed" "$command" --help
done

# --- wrong use
expect 64 'did you mean verify?' "$lapsed" verfy
expect 64 'Try: lapsed --help' "$lapsed" nonsense
expect 64 'did you mean raft-heartbeat-ms?' "$lapsed" --raft-heartbeats-ms 10
expect 64 '--raft-heartbeat-ms: "x"' "$lapsed" --raft-heartbeat-ms x
expect 64 'its value is missing' "$lapsed" --config
expect 64 'given twice' "$lapsed" --node-id 1 --node-id 1
expect 64 'given twice' "$lapsed" --config a --config=b
expect 64 'given twice' "$lapsed" --version --version
expect 64 'unexpected argument' "$lapsed" --node-id 1 extra
expect 64 '--dir goes with --dev' "$lapsed" --dir "$dir"
expect 64 'leave out --config' "$lapsed" --dev --config x
expect 64 'takes no value' "$lapsed" --check-config=yes
# init without one of its flags, the value behind it left out, too.
without() {
  local given=(--cluster c --members 1=h:1 --operator "$operator" --node-id 1 --data-dir "$dir/never") kept=() i
  for ((i = 0; i < ${#given[@]}; i += 2)); do
    [ "${given[i]}" = "$1" ] || kept+=("${given[i]}" "${given[i + 1]}")
  done
  "$lapsed" init "${kept[@]}"
}
for flag in --cluster --members --operator --node-id --data-dir; do
  expect 64 "$flag is missing" without "$flag"
done
expect 64 'did you mean --members?' "$lapsed" init --member 1=h:1
expect 64 '--node-id is missing' "$lapsed" join --cluster demo-0123456789abcdef --data-dir "$dir/never"
expect 64 '--data-dir is missing' "$lapsed" verify
expect 64 'Try: lapsed verify --help' "$lapsed" verify

# --- init refuses what could not become a cluster
bad() { # TEXT NAME MEMBERS OPERATOR NODE-ID
  expect 64 "$1" "$lapsed" init --cluster "$2" --members "$3" --operator "$4" --node-id "$5" --data-dir "$dir/never"
}
bad '--cluster: "Prod"' Prod "$members" "$operator" 1
bad '--cluster: ""' '' "$members" "$operator" 1
bad '--operator:' prod "$members" user:operator 1
bad '--node-id: "0"' prod "$members" "$operator" 0
bad '--node-id: "-1"' prod "$members" "$operator" -1
bad '--node-id: 4 is not one of --members' prod "$members" "$operator" 4
bad 'number 1 is given twice' prod 1=h:1,1=h:2 "$operator" 1
bad 'h port 1 is given twice' prod 1=h:1,2=H:1 "$operator" 1
bad 'no port' prod 1=h "$operator" 1
bad '1=host:port' prod h:1 "$operator" 1
bad 'is not a node' prod 0=h:1 "$operator" 1
bad "can't connect to it" prod 1=0.0.0.0:7401 "$operator" 1
bad "can't connect to it" prod 1=h:0 "$operator" 1
bad 'at most 9 members' prod 1=h:1,2=h:2,3=h:3,4=h:4,5=h:5,6=h:6,7=h:7,8=h:8,9=h:9,10=h:10 "$operator" 1
bad 'brackets' prod 1=::1:7401 "$operator" 1
hold 'a refused init makes nothing' test ! -e "$dir/never"

# --- init makes the same cluster everywhere, and never twice
expect 0 'cluster prod-' init --node-id 1 --data-dir "$dir/1"
first=$(init --node-id 2 --data-dir "$dir/2" | sed 's/:.*//')
members=3=127.0.0.1:7421,2=127.0.0.1:7411,1=127.0.0.1:7401
second=$(init --node-id 3 --data-dir "$dir/3" | sed 's/:.*//')
hold 'the order of members does not matter' test "$first" = "$second"
hold 'the id is the name and 16 digits' grep -qE '^cluster prod-[0-9a-f]{16}$' <<<"$first"
other=$(init --node-id 3 --data-dir "$dir/4" --token t | sed 's/:.*//')
hold 'a token makes another cluster' test "$first" != "$other"
expect 73 'is not empty' init --node-id 1 --data-dir "$dir/1"
mkdir "$dir/5" && echo precious >"$dir/5/file"
expect 73 'is not empty' init --node-id 1 --data-dir "$dir/5"
hold 'what was there is untouched' grep -q precious "$dir/5/file"
expect 74 "can't be made" init --node-id 1 --data-dir "$dir/no/such/parent"
mkdir "$dir/6" && chmod 755 "$dir/6"
expect 77 'open to other users' init --node-id 1 --data-dir "$dir/6"
hold 'data is for nobody else' test -z "$(find "$dir/1" -perm /077)"
members=1=127.0.0.1:7401,2=127.0.0.1:7411
expect 0 'warning: 2 members' init --node-id 1 --data-dir "$dir/7"

# --- join
expect 0 'waits for cluster demo-0123456789abcdef' "$lapsed" join --cluster demo-0123456789abcdef --node-id 4 --data-dir "$dir/8"
expect 73 'is not empty' "$lapsed" join --cluster demo-0123456789abcdef --node-id 4 --data-dir "$dir/8"
expect 64 '--cluster is missing' "$lapsed" join --node-id 4 --data-dir "$dir/9"

# --- verify
for i in 1 2 3 8; do
  expect 0 'no fault found' "$lapsed" verify --data-dir "$dir/$i"
done
mkdir "$dir/empty"
expect 78 'run lapsed init' "$lapsed" verify --data-dir "$dir/empty"
expect 78 'cannot open' "$lapsed" verify --data-dir "$dir/none"
segment=$(find "$dir/2" -name '*.segment' | head -n 1)
hold 'a segment is there' test -n "$segment"
printf 'XXXX' | dd of="$segment" bs=1 seek=64 conv=notrunc status=none
before=$(cksum "$dir"/2/*)
expect 65 'segment' "$lapsed" verify --data-dir "$dir/2"
hold 'verify changes nothing' test "$before" = "$(cksum "$dir"/2/*)"

# --- configuration
for file in node.pem node.key authorities.pem; do echo x >"$dir/$file"; done
sed "s,/etc/lapse,$dir,; s,^# data-dir = .*,data-dir = $dir/1," "$root/dist/lapsed.conf" >"$dir/lapsed.conf"
expect 0 'the configuration is right' "$lapsed" --config "$dir/lapsed.conf" --check-config
expect 0 "data-dir = $dir/1" "$lapsed" --config "$dir/lapsed.conf" --print-config
"$lapsed" --config "$dir/lapsed.conf" --print-config >"$dir/printed.conf"
"$lapsed" --config "$dir/printed.conf" --print-config >"$dir/again.conf"
hold 'a printed configuration prints itself' cmp "$dir/printed.conf" "$dir/again.conf"
# Every default that the example shows is the one in force.
sed 's,^# \([a-z-]* = \),\1,; /^deny-list/d; /^data-dir/d; /^join/d; /^file/d' "$root/dist/lapsed.conf" >"$dir/defaults.conf"
hold 'the example shows the defaults' cmp -s <("$lapsed" --config "$dir/defaults.conf" --print-config) \
  <("$lapsed" --config "$root/dist/lapsed.conf" --print-config)
expect 78 "can't be opened" "$lapsed" --config "$dir/none.conf"
expect 78 'node.id is not set' "$lapsed" --check-config
expect 78 'LAPSED_NODE_ID: "x"' env LAPSED_NODE_ID=x "$lapsed" --check-config
expect 78 'did you mean LAPSED_NODE_ID?' env LAPSED_NODE_IDS=1 "$lapsed" --check-config
expect 78 'raft.heartbeat-ms' "$lapsed" --config "$dir/lapsed.conf" --raft-heartbeat-ms 100 --check-config
echo 'colour = grey' >>"$dir/lapsed.conf"
expect 78 "lapsed.conf:$(wc -l <"$dir/lapsed.conf"): there is no setting" "$lapsed" --config "$dir/lapsed.conf"
chmod 644 "$dir/node.key"
expect 78 'chmod 600' "$lapsed" --config "$dir/printed.conf"

# --- a cluster for development: starts, serves, stops, and starts again with what it had
pid=
trap 'if [ -n "$pid" ]; then kill -9 "$pid"; fi; rm -rf "$dir"' EXIT
start_dev() {
  "$lapsed" --dev --dir "$dir/dev" >"$dir/out" 2>"$dir/err" &
  pid=$!
  until grep -q 'Ctrl-C stops it' "$dir/out"; do
    kill -0 "$pid" 2>/dev/null || { cat "$dir/err"; return 1; }
    sleep 0.05
  done
}
stop_dev() {
  kill -"$1" "$pid"
  wait "$pid"
  local code=$?
  pid=
  return $code
}
metrics() {
  curl -sS --max-time 20 "$(sed -n 's,^Metrics: \(.*\)/metrics$,\1,p' "$dir/out")$1"
}
hold 'a cluster for development starts' start_dev
hold 'it is ready' test "$(metrics /readyz)" = ready
hold 'it leads itself' grep -q '^lapse_is_leader 1$' <(metrics /metrics)
hold 'its environment can be sourced' bash -euc ". '$dir/dev/env' && test -r \"\$LAPSE_KEY\" && test -n \"\$LAPSE_ENDPOINTS\""
hold 'it survives a reload' kill -HUP "$pid"
expect 78 'in use' "$lapsed" verify --data-dir "$dir/dev/data"
hold 'SIGTERM stops it with 0' stop_dev TERM
hold 'it starts again' start_dev
hold 'SIGINT stops it with 0' stop_dev INT
expect 0 'no fault found' "$lapsed" verify --data-dir "$dir/dev/data"

# --- starts that can't succeed
conf=(--config "$dir/dev/lapsed.conf" --listen-client 127.0.0.1:0 --listen-peer 127.0.0.1:0 --listen-http 127.0.0.1:0)
expect 78 'run lapsed init' "$lapsed" "${conf[@]}" --data-dir "$dir/empty"
expect 78 'belongs to node 1' "$lapsed" "${conf[@]}" --node-id 2
expect 78 'node.pem' "$lapsed" "${conf[@]}" --tls-certificate "$dir/node.pem"
expect 77 'open to other users' "$lapsed" "${conf[@]}" --data-dir "$dir/6"
expect 74 'listen.http' "$lapsed" "${conf[@]:0:6}" --listen-http 192.0.2.1:7402
segment=$(find "$dir/dev/data" -name '*.segment' | sort | head -n 1)
printf 'XXXX' | dd of="$segment" bs=1 seek=64 conv=notrunc status=none
expect 65 'DATA_LOSS' "$lapsed" "${conf[@]}"

printf '%s checks, %s failed\n' "$n" "$failed"
[ "$failed" -eq 0 ]
