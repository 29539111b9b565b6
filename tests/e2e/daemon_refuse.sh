#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What terraced refuses to start with: it says the cure, exits with 1 or (usage) 2, and leaves what was
# there as it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
requires python3 cksum

OTHER=
cleanup_fn() { [ -z "$OTHER" ] || kill -KILL "$OTHER" 2>/dev/null || true; }

# What there is below $T/d, and what is in it.
snapshot() { (cd "$T/d" && find . -type f -exec cksum {} + -o -type d -print | sort); }

# refused WHAT STATUS PATTERN OPTION...
refused() {
	local what=$1 status=$2 pattern=$3 got=0 before
	shift 3
	before=$(snapshot)
	timeout 20 ${AS:-} "$TERRACED" "$@" >"$T/out" 2>"$T/err" </dev/null || got=$?
	[ "$got" = "$status" ] || fail "$what: status $got instead of $status: $(cat "$T/out" "$T/err")"
	expect_match "$what" "$(cat "$T/err")" "$pattern"
	[ "$(snapshot)" = "$before" ] || fail "$what: files were changed or created: $(snapshot)"
	[ ! -s "$T/out" ] || fail "$what: it said it serves: $(cat "$T/out")"
}

mkdir -p "$T/d" "$T/other"
head -c 1048576 /dev/urandom >"$T/d/image"
S=(--state-dir "$T/other/state")
L=(--listen "127.0.0.1:$PORT" "${S[@]}")

# ---- usage ----
refused "nothing to serve" 2 'give --lun or --config'
refused "unknown option" 2 '--help' --frobnicate
refused "argument that is no option" 2 "unexpected 'what'" --lun ram:1MiB what
refused "no size" 2 'size' --lun ram:many
refused "size 0" 2 'size' --lun ram:0
refused "odd size" 2 'multiple of 512' --lun ram:1000
refused "huge size" 2 'size' --lun ram:99999999999999999999TiB
refused "loops" 2 '--loops takes a number' --lun ram:1MiB --loops 0
refused "mode" 2 'modes are nv .*writethrough, volatile and bypass' --lun ram:1MiB --mode fast
refused "log level" 2 '--log-level takes' --lun ram:1MiB --log-level loud
refused "user without secret" 2 'NAME:SECRET' --lun ram:1MiB --user me
refused "short secret" 2 '12 to 256 bytes' --lun ram:1MiB --user me:short
refused "secret file that isn't there" 2 "can't read $T/d/none" --lun ram:1MiB "--user=me:@$T/d/none"
refused "all addresses, open to all" 2 '--user NAME:SECRET.*--open' --lun ram:1MiB \
	--listen "0.0.0.0:$PORT"
refused "all addresses without a name" 2 '--name' --lun ram:1MiB --listen "0.0.0.0:$PORT" --open
refused "IPv6 wildcard" 2 '--user NAME:SECRET' --lun ram:1MiB --listen "[::]:$PORT"
refused "configuration and options" 2 "don't go with it" --config "$T/d/none" --lun ram:1MiB
refused "check without configuration" 2 '--check needs --config' --check --lun ram:1MiB

# ---- stores ----
refused "missing file" 1 "$T/d/none does not exist; create it, or give a size" \
	--lun "$T/d/none" "${L[@]}"
refused "missing folder" 1 "$T/d/no does not exist" --lun "$T/d/no/file:1MiB" "${L[@]}"
refused "folder" 1 "$T/d" --lun "$T/d" "${L[@]}"
refused "character device" 1 'not a block device' --lun /dev/zero "${L[@]}"
refused "file below /proc" 1 "/proc/" --lun /proc/file:1MiB "${L[@]}"
refused "file below /run" 1 "/run/" --lun /run/terrace-test-file:1MiB "${L[@]}"
refused "one store twice" 1 'another' --lun "$T/d/image" --lun "$T/d/../d/image" "${L[@]}"
ln "$T/d/image" "$T/d/hardlink"
ln -s image "$T/d/symlink"
refused "one store by two links" 1 'another' --lun "$T/d/image" --lun "$T/d/hardlink" "${L[@]}"
refused "one store by a symlink" 1 'another' --lun "$T/d/image" --lun "$T/d/symlink" "${L[@]}"
: >"$T/d/empty"
refused "empty file" 1 'size' --lun "$T/d/empty" "${L[@]}"

# ---- portals ----
refused "address of nobody" 1 'ip address' --lun "$T/d/image" --listen "192.0.2.77:$PORT" \
	--open --name "$TARGET" "${S[@]}"
refused "malformed address" 2 'listen' --lun "$T/d/image" --listen "127.0.0.1:port" "${S[@]}"
python3 -c 'import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
time.sleep(60)' "$PORT" &
OTHER=$!
for _ in $(seq 100); do
	grep -q "$(printf ':%04X 00000000:0000 0A' "$PORT")" /proc/net/tcp && break
	sleep 0.05
done
refused "port in use" 1 "port $PORT is in use by .*python.*$OTHER" --lun "$T/d/new:1MiB" "${L[@]}"
kill "$OTHER"
wait "$OTHER" 2>/dev/null || true
OTHER=

# ---- two daemons ----
start --listen "127.0.0.1:$PORT" --lun "$T/d/image"
port2=$(free_port)
refused "second daemon on one state directory" 1 "pid $PID|$PID" --lun ram:1MiB \
	--listen "127.0.0.1:$port2" --state-dir "$T/state"
refused "store of another terraced" 1 "terraced|$PID" --lun "$T/d/image" \
	--listen "127.0.0.1:$port2" "${S[@]}"
refused "port of another terraced" 1 "port $PORT is in use by terraced.*$PID" --lun ram:1MiB "${L[@]}"
stop

# ---- catalogue ----
# hurt WHAT FILE: in each place that has the name of the store; a page of zeros; the half of it.
hurt() {
	python3 - "$@" <<-'END'
	import re, sys
	with open(sys.argv[2], "r+b") as f:
	    data = bytearray(f.read())
	    if sys.argv[1] == "bits":
	        places = [m.start() for m in re.finditer(b"/image", data)]
	        assert places, "the name of the store isn't there"
	        for at in places:
	            data[at + 1] ^= 4
	    elif sys.argv[1] == "zeros":
	        data[2 * 4096:] = bytes(len(data) - 2 * 4096)
	    else:
	        del data[len(data) // 2:]
	    f.seek(0)
	    f.write(data)
	    f.truncate()
	END
}
for what in bits zeros half; do
	rm -rf "$T/hurt"
	cp -a "$T/state" "$T/hurt"
	hurt "$what" "$T/hurt/catalog.mdb"
	was=$(cksum <"$T/hurt/catalog.mdb")
	refused "damaged catalogue ($what)" 1 "$T/hurt/catalog.mdb is damaged: restore it" \
		--lun "$T/d/image" --listen "127.0.0.1:$PORT" --state-dir "$T/hurt"
	[ "$(cksum <"$T/hurt/catalog.mdb")" = "$was" ] || fail "a damaged catalogue was changed"
done
cp "$T/state/catalog.mdb.last" "$T/state/catalog.mdb"
start --listen "127.0.0.1:$PORT" --lun "$T/d/image"
stop

# ---- state directory ----
echo rubbish >"$T/other/state/state" 2>/dev/null || { mkdir -p "$T/other/state" && echo rubbish >"$T/other/state/state"; }
refused "state directory of something else" 1 "$T/other/state" --lun "$T/d/image" "${L[@]}"
printf 'terrace-state 1\nmachine-id 00000000000000000000000000000000\n' >"$T/other/state/state"
refused "state directory of another machine" 1 '--state-dir-moved' --lun "$T/d/image" "${L[@]}"
rm -rf "$T/other/state"
: >"$T/d/file"
refused "state directory is a file" 1 "$T/d/file" --lun "$T/d/image" \
	--listen "127.0.0.1:$PORT" --state-dir "$T/d/file"

# ---- configuration ----
# bad WHAT PATTERN TEXT
bad() {
	printf '%s\n' "$3" >"$T/d/conf"
	refused "$1 (check)" 1 "$2" --check --config "$T/d/conf"
	refused "$1" 1 "$2" --config "$T/d/conf" "${S[@]}"
}
refused "configuration that isn't there" 1 "$T/d/none" --config "$T/d/none"
bad "unknown key" "conf:1:.*size" 'lun a { store ram: ; sice 1MiB }'
bad "unknown LUN" "conf:2:.*" "portal p { listen 127.0.0.1:$PORT }
target $TARGET { portals p ; open yes ; lun 0 nothing }"
bad "two LUNs, one store" "conf:2:.*image" "lun a { store $T/d/image }
lun b { store $T/d/image }"
bad "missing brace" "conf:" "lun a { store ram: ; size 1MiB"
bad "relative path" "conf:1:.*" 'lun a { store file:some/file ; size 1MiB }'
bad "two errors at once" "conf:2:" 'lun a { sice 1 }
target nonsense { }'
# Only a look at the disk tells that these are one; one that isn't there, on its own, is no more.
printf '%s\n' "lun a { store $T/d/image }
lun b { store $T/d/symlink }" >"$T/d/conf"
refused "two LUNs, one store by a symlink" 1 'LUN a and LUN b have the same store' \
	--config "$T/d/conf" "${S[@]}"
printf '%s\n' "lun a { store $T/d/none }" >"$T/d/conf"
refused "the only store isn't there" 1 "conf:1: LUN a: $T/d/none does not exist" \
	--config "$T/d/conf" "${S[@]}"
printf '%s\n' "lun a { store $T/d/image ; serial one-for-both }
lun b { store ram: ; size 1MiB ; serial one-for-both }" >"$T/d/conf"
refused "two LUNs, one identity" 1 "conf:2:.*serial" --config "$T/d/conf" "${S[@]}"
chmod 644 "$T/d/image"
printf 'a-secret-for-all\n' >"$T/d/secret"
chmod 644 "$T/d/secret"
bad "secret that others may read" "conf:1:.*(chmod|read)" \
	"target $TARGET { chap me { secret_file $T/d/secret } }"

# ---- as nobody ----
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	cp "$TERRACED" "$T/terraced" # the build folder may be out of its reach
	chmod 755 "$T" "$T/terraced" "$T/d"
	mkdir -m 700 "$T/home"
	chown 65534:65534 "$T/home"
	chmod 600 "$T/d/image"
	TERRACED=$T/terraced
	AS="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$T/home"
	refused "file without permission" 1 "$T/d/image.*(permission|owner|chmod|chown|root)" \
		--lun "$T/d/image" --listen "127.0.0.1:$PORT"
	refused "folder without permission" 1 "$T/d" --lun "$T/d/new:1MiB" --listen "127.0.0.1:$PORT"
	refused "state directory without permission" 1 "state" --lun ram:1MiB \
		--listen "127.0.0.1:$PORT" --state-dir "$T/d/state"
fi

# ---- file systems where nothing is durable ----
printf '#!/bin/sh\nmount -t tmpfs none %s/m && exec "$@"\n' "$T" >"$T/in-tmpfs"
chmod 755 "$T/in-tmpfs"
mkdir "$T/m"
if unshare -m "$T/in-tmpfs" true 2>/dev/null; then
	AS="unshare -m $T/in-tmpfs"
	refused "new file on tmpfs" 1 'in memory.*(ram:|disk)' --lun "$T/m/file:1MiB" "${L[@]}"
fi
echo ok
