# SPDX-License-Identifier: BSD-2-Clause
# For shell tests: source this first. A terraced of the test's own, a temporary folder $T, a free port
# $PORT; what was started ends with the test, by its pid. Exit status: 0, 1 failed, 77 skipped.
# shellcheck shell=bash
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TERRACED=${TERRACED:-$here/../../build/dev/bin/terraced}
TARGET=iqn.2026-11.example.terrace:test
export LIBISCSI_DEBUG=0
T=$(mktemp -d /tmp/terrace-test.XXXXXX)
PID=
LOG=$T/log

fail() {
	echo "FAILED: $*"
	if [ -s "$LOG" ]; then
		echo "---- end of terraced's log"
		tail -n 30 "$LOG"
	fi
	exit 1
}

skip() {
	echo "skipped: $*"
	exit 77
}

requires() {
	local p
	for p in "$@"; do
		command -v "$p" >/dev/null || skip "$p is not installed"
	done
}

# A test may have more to undo: it defines cleanup_fn.
cleanup() {
	local status=$?
	trap - EXIT
	if [ -n "$PID" ]; then
		kill -KILL "$PID" 2>/dev/null || true
		wait "$PID" 2>/dev/null || true
	fi
	if declare -F cleanup_fn >/dev/null; then cleanup_fn; fi
	rm -rf "$T"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# free_port [ADDRESS]: below the range that outgoing connections take.
free_port() {
	python3 -B -c 'import sys
sys.path.insert(0, sys.argv[1])
from terraced import free_ports
print(free_ports(1, sys.argv[2])[0])' "$here/lib" "${1:-127.0.0.1}"
}
PORT=$(free_port)

# start OPTION...: starts terraced and waits until it listens on $PORT.
start() {
	[ -x "$TERRACED" ] || fail "$TERRACED is not there: build it first"
	"$TERRACED" --state-dir "$T/state" "$@" >>"$LOG" 2>&1 </dev/null &
	PID=$!
	local i hex
	hex=$(printf ':%04X' "$PORT")
	for ((i = 0; i < 1500; i++)); do
		kill -0 "$PID" 2>/dev/null || fail "terraced ended at once"
		if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
			awk -v p="$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { found = 1 }
				END { exit !found }'; then
			return 0
		fi
		sleep 0.02
	done
	fail "terraced doesn't listen on $PORT"
}

# One target on 127.0.0.1:$PORT, open, under the name $TARGET.
start_open() { start --listen "127.0.0.1:$PORT" --name "$TARGET" "$@"; }

# SIGTERM: it has to end in order, without a report of a sanitizer.
stop() {
	local status=0
	kill -TERM "$PID"
	wait "$PID" || status=$?
	PID=
	[ "$status" = 0 ] || fail "terraced ended with status $status"
	if grep -Eiq 'AddressSanitizer|LeakSanitizer|runtime error:|assertion' "$LOG"; then
		fail "a report in terraced's log"
	fi
}

# url [LUN [CREDENTIALS@]]
url() { echo "iscsi://${2:-}127.0.0.1:$PORT/$TARGET/${1:-0}"; }

# expect WHAT GOT EXPECTED
expect() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

# expect_match WHAT TEXT PATTERN (extended)
expect_match() { grep -Eq -- "$3" <<<"$2" || fail "$1: nothing like '$3' in: $2"; }
