#!/bin/bash
# The `lapse` command against a running node: a grant's ways, exit codes, JSON, watching, and every example of its help.
#
#   test_lapse_cli.sh LAPSE LAPSED   starts `lapsed --dev` in a temporary directory and ends it
#   test_lapse_cli.sh LAPSE DIR      uses the node that `lapsed --dev --dir DIR` runs
set -u

lapse=$(realpath "$1")
work=$(mktemp -d)
node=
failed=0
passed=0

finish() {
    if [[ -n $node ]]; then kill -9 "$node" 2>/dev/null; wait "$node" 2>/dev/null; fi
    rm -rf "$work"
}
trap finish EXIT

if [[ -d $2 ]]; then
    dir=$(realpath "$2")
else
    dir=$work/dev
    mkdir -m 700 "$dir"
    "$2" --dev --dir "$dir" >"$work/node.log" 2>&1 &
    node=$!
    until grep -q '^Lapse is ready' "$work/node.log"; do
        kill -0 "$node" 2>/dev/null || { cat "$work/node.log"; exit 1; }
        sleep 0.05
    done
fi
. "$dir/env"
export TZ=UTC
mkdir "$work/bin" && ln -s "$lapse" "$work/bin/lapse" && export PATH=$work/bin:$PATH
cd "$work" || exit 1

as() { # USER COMMAND...: runs it with that user's certificate
    local user=$1
    shift
    LAPSE_CERTIFICATE=$dir/pki/$user.pem LAPSE_KEY=$dir/pki/$user.key "$@"
}

# expect CODE WHAT COMMAND...: runs it, keeps its output in $out, and compares the exit code.
expect() {
    local code=$1 what=$2 got
    shift 2
    out=$("$@" 2>&1)
    got=$?
    if [[ $got == "$code" ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL: $what: exit code $got instead of $code: $*"
        echo "$out" | sed 's/^/    /'
    fi
}

says() { # TEXT: the last output contains it
    if [[ $out == *"$1"* ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL: \"$1\" is not in:"
        echo "$out" | sed 's/^/    /'
    fi
}

# Sets GRANT to a break-glass grant whose review is open, and leaves its policy in force.
new_break_glass_grant() {
    cat >"$work/emergency.yaml" <<'YAML'
policy: emergency
rules:
  - name: break-glass
    break_glass: true
    requesters: ["*"]
    resources: ["*"]
    approval: {automatic: true}
  - name: everything-else
    requesters: ["*"]
    subjects: ["*"]
    resources: ["*"]
YAML
    as operator lapse policy apply "$work/emergency.yaml" >/dev/null || { echo "FAIL: can't apply"; exit 1; }
    GRANT=$(as dev1 lapse request --break-glass --resource db/prod/orders --action read --duration 1h \
        --justification "nobody to ask" --output id) || { echo "FAIL: can't request"; exit 1; }
    export GRANT
}

new_grant() { # STATE [FLAGS...]: sets GRANT to a fresh one in that state
    local state=$1
    shift
    GRANT=$(as dev1 lapse request --resource db/prod/orders --action read,connect --duration 1h --justification test \
        --output id "$@") || { echo "FAIL: can't request"; exit 1; }
    [[ $state == PENDING ]] || as oncall lapse approve "$GRANT" >/dev/null || { echo "FAIL: can't approve"; exit 1; }
    [[ $state != REVOKED ]] || as operator lapse revoke "$GRANT" >/dev/null || { echo "FAIL: can't revoke"; exit 1; }
    export GRANT
}

a_grant_goes_its_way() {
    expect 0 "request" as dev1 lapse request --resource db/prod/orders --action read --duration 15m --justification "why not" --ticket T-1
    says PENDING
    says "why not"
    new_grant PENDING
    expect 0 "approve" as oncall lapse approve "$GRANT" --comment fine
    says ACTIVE
    says "in 1h"
    expect 0 "get" as dev1 lapse get "$GRANT"
    says fine
    expect 0 "check" as proxy1 lapse check spiffe://dev.lapse/user/dev1 db/prod/orders read
    says "yes: grant"
    expect 0 "revoke" as operator lapse revoke "$GRANT" --reason "laptop lost"
    says REVOKED
    says "laptop lost"
    expect 2 "check afterwards" as proxy1 lapse check spiffe://dev.lapse/user/dev9 db/prod/orders read
    says "no:"
}

exit_codes_tell_what_happened() {
    new_grant PENDING
    expect 2 "nobody approves their own request" as dev1 lapse approve "$GRANT"
    expect 3 "no such grant" as dev1 lapse get 01JD8Z5M3N0V6Q2R4T8W9X1Y7Z
    expect 1 "no grant id" as dev1 lapse get nonsense
    expect 0 "deny" as oncall lapse deny "$GRANT"
    expect 5 "approving what was denied" as oncall lapse approve "$GRANT"
    expect 4 "nobody there" lapse get "$GRANT" --endpoints 127.0.0.1:1 --timeout 200ms
    expect 64 "no such flag" lapse get "$GRANT" --wait
    expect 1 "no certificate" lapse get "$GRANT" --cert /nonexistent.pem
    says /nonexistent.pem
}

the_same_request_id_is_one_request() {
    local first second
    first=$(as dev1 lapse request --resource a/b --action read --duration 1m --justification x --request-id once --output id)
    second=$(as dev1 lapse request --resource a/b --action read --duration 1m --justification x --request-id once --output id)
    expect 0 "both are one" test -n "$first" -a "$first" = "$second"
}

waiting_ends_with_the_decision() {
    local verdict code
    for verdict in approve:0 deny:2; do
        as dev1 lapse request --resource wait/me --action read --duration 1m --justification x --ticket "W-$verdict" --wait --output json \
            >"$work/waited" 2>/dev/null &
        local waiter=$!
        until GRANT=$(as operator lapse list --ticket "W-$verdict" --state PENDING --output id) && [[ -n $GRANT && $GRANT != *" "* ]]; do
            sleep 0.05
        done
        as oncall lapse "${verdict%:*}" "$GRANT" >/dev/null
        wait "$waiter"
        code=$?
        expect 0 "waiting for $verdict ends with ${verdict#*:}" test "$code" = "${verdict#*:}"
    done
}

json_is_one_object_a_line() {
    new_grant ACTIVE
    expect 0 "get as JSON" as dev1 lapse get "$GRANT" --output json
    says '"state":"ACTIVE"'
    says '"ended_ms":0'
    expect 0 "list as JSON" as operator lapse list --state ACTIVE --output json --limit 2
    expect 0 "one line each" test "$(as operator lapse list --output json --limit 2 | wc -l)" = 2
    expect 0 "all parse" /usr/bin/python3 -c 'import json,sys
for line in sys.stdin: assert json.loads(line)["id"]' < <(as operator lapse list --output json)
}

a_watch_sees_what_happens_and_resumes() {
    new_grant PENDING
    as proxy1 lapse watch --output json --until-ended "$GRANT" --progress >"$work/events" 2>/dev/null &
    local watcher=$!
    until [[ -s $work/events ]]; do sleep 0.05; done # its first progress mark
    as oncall lapse approve "$GRANT" >/dev/null
    as operator lapse revoke "$GRANT" >/dev/null
    wait "$watcher"
    expect 0 "the watch ended with the grant" test $? = 0
    expect 0 "approved, activated, revoked" /usr/bin/python3 - "$work/events" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
kinds = [line["event"]["type"] for line in lines if "event" in line]
assert kinds == ["APPROVED", "ACTIVATED", "REVOKED"], kinds
revisions = [line["event"]["revision"] for line in lines if "event" in line]
assert revisions == sorted(set(revisions))
PY
    expect 0 "resume from the beginning" as proxy1 lapse watch --from 1/1 --count 1 --output json
    expect 0 "snapshot" as proxy1 lapse watch --snapshot --count 0
    says "as of"
    as proxy1 exec lapse watch --progress >"$work/progress" 2>&1 &
    watcher=$!
    until [[ -s $work/progress ]]; do sleep 0.05; done
    kill -TERM "$watcher"
    wait "$watcher"
    expect 0 "a signal ends a watch with 0" test $? = 0
}

operators_run_the_cluster() {
    expect 0 "status" as operator lapse cluster status
    says "leader"
    expect 0 "roles" as operator lapse cluster roles list
    says spiffe://dev.lapse/user/dev1
    expect 0 "set roles" as operator lapse cluster roles set spiffe://dev.lapse/user/dev7 requester approver
    expect 0 "roles again" as operator lapse cluster roles list --output json
    says '{"member":"spiffe://dev.lapse/user/dev7","roles":["requester","approver"],"scope":[]}'
    expect 0 "remove roles" as operator lapse cluster roles set spiffe://dev.lapse/user/dev7 --remove
    expect 2 "only operators set roles" as dev1 lapse cluster roles set spiffe://dev.lapse/user/dev1 operator
    expect 64 "no such role" as operator lapse cluster roles set x king
}

help_of_a_group_lists_its_commands() {
    expect 0 "help of a group" lapse help cluster roles
    says "cluster roles set"
    expect 64 "help of nothing" lapse help clu
}

every_example_works() {
    local user state code text
    while IFS=$'\t' read -r user state code text; do
        unset GRANT
        case $state in
        -) ;;
        REVIEW) new_break_glass_grant ;;
        *) new_grant "$state" ;;
        esac
        [[ $user == - ]] && user=dev1
        [[ $code == - ]] && continue
        expect "$code" "example as $user: $text" as "$user" bash -ec "$text"
        [[ $state != REVIEW ]] || as operator lapse policy remove emergency --last --reason "the next example" >/dev/null
    done < <(lapse help --examples)
}

a_grant_goes_its_way
exit_codes_tell_what_happened
the_same_request_id_is_one_request
waiting_ends_with_the_decision
json_is_one_object_a_line
a_watch_sees_what_happens_and_resumes
operators_run_the_cluster
help_of_a_group_lists_its_commands
every_example_works
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
