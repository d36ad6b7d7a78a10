#!/usr/bin/env bash
# Runs a command beside a private demo of Tollgate: scripts/demo.sh COMMAND [ARG...]
#
# The demo has a temporary data folder and a free port, and is gone when the command ends. Its
# coordinates are in TOLLGATE_BASE_URL (with /v1), TOLLGATE_ORIGIN (without), TOLLGATE_API_KEY,
# TOLLGATE_EMPTY_KEY (an account without funds), TOLLGATE_OPERATOR_EMAIL,
# TOLLGATE_OPERATOR_PASSWORD, TOLLGATE_ACCOUNT_ID and TOLLGATE_DATA (the folder).
# TOLLGATE_BIN names another binary than target/debug/tollgate.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

if [ $# -eq 0 ]; then
    echo "usage: scripts/demo.sh COMMAND [ARG...]" >&2
    exit 2
fi
binary=${TOLLGATE_BIN:-${CARGO_TARGET_DIR:-target}/debug/tollgate}
if [ ! -x "$binary" ]; then
    echo "demo: $binary was not found; build it with:  cargo build -p server" >&2
    exit 1
fi
scripts/tools.sh python

dir=$(mktemp -d "${TMPDIR:-/tmp}/tollgate-demo.XXXXXX")
server=
stop() {
    local status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

echo "demo: starting $binary in $dir" >&2
mkdir "$dir/data"
"$binary" demo --days 0 --data "$dir/data" --listen 127.0.0.1:0 </dev/null >"$dir/log" 2>&1 &
server=$!

for _ in $(seq 1800); do
    if [ -s "$dir/data/credentials.json" ]; then break; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ ! -s "$dir/data/credentials.json" ]; then
    echo "demo: no credentials.json; the last lines of the server:" >&2
    tail -n 50 "$dir/log" >&2
    exit 1
fi

# Prints a field of credentials.json.
field() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))' \
        "$dir/data/credentials.json" "$1"
}
origin=$(field base_url)
origin=${origin%/}
export TOLLGATE_ORIGIN=${origin%/v1}
export TOLLGATE_BASE_URL=$TOLLGATE_ORIGIN/v1
TOLLGATE_API_KEY=$(field api_key)
TOLLGATE_EMPTY_KEY=$(field empty_key)
TOLLGATE_OPERATOR_EMAIL=$(field operator_email)
TOLLGATE_OPERATOR_PASSWORD=$(field operator_password)
TOLLGATE_ACCOUNT_ID=$(field account_id)
export TOLLGATE_API_KEY TOLLGATE_EMPTY_KEY TOLLGATE_OPERATOR_EMAIL TOLLGATE_OPERATOR_PASSWORD
export TOLLGATE_ACCOUNT_ID TOLLGATE_DATA="$dir/data"

# Credentials are written before or after the socket opens: wait for the socket.
python3 - "$TOLLGATE_ORIGIN" <<'PYTHON' || { tail -n 50 "$dir/log" >&2; exit 1; }
import sys, time, urllib.request
for _ in range(600):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1] + "/livez", timeout=5)
        sys.exit(0)
    except OSError:
        time.sleep(0.1)
sys.exit("demo: %s/livez does not answer" % sys.argv[1])
PYTHON
echo "demo: ready at $TOLLGATE_ORIGIN" >&2

status=0
"$@" || status=$?
if ! kill -0 "$server" 2>/dev/null; then
    echo "demo: the server ended while the command ran" >&2
    status=1
fi
if [ "$status" -ne 0 ]; then
    echo "demo: the last lines of the server:" >&2
    tail -n 30 "$dir/log" >&2
fi
exit "$status"
