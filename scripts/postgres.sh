#!/usr/bin/env bash
# Runs a command beside a private PostgreSQL: scripts/postgres.sh [--durable] COMMAND [ARG...]
#
# The server lives in a temporary folder on a free port of 127.0.0.1 and is gone when the command
# ends. The command finds it in TOLLGATE_TEST_POSTGRES; when that is set already, the command uses
# the server it names. --durable leaves fsync on, for tests that kill processes or measure commits.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

durable=off
if [ "${1:-}" = --durable ]; then
    durable=on
    shift
fi
if [ $# -eq 0 ]; then
    echo "usage: scripts/postgres.sh [--durable] COMMAND [ARG...]" >&2
    exit 2
fi
if [ -n "${TOLLGATE_TEST_POSTGRES:-}" ] && { [ "$durable" = off ] || [ "${TOLLGATE_TEST_POSTGRES_DURABLE:-}" = on ]; }; then
    exec "$@"
fi

bin=$("$root/scripts/tools.sh" postgres | tail -n 1)

# Runs a server program as a user the server accepts: it refuses to run as root.
as_server=()
owner=
if [ "$(id -u)" = 0 ]; then
    owner=nobody
    if id postgres >/dev/null 2>&1; then owner=postgres; fi
    as_server=(runuser -u "$owner" --)
fi

# Not TMPDIR: the other user must be able to enter, and socket paths must stay short.
dir=$(mktemp -d /tmp/tollgate-pg.XXXXXX)
chmod 711 "$dir"
mkdir "$dir/server"
if [ -n "$owner" ]; then chown "$owner" "$dir/server"; fi
chmod 700 "$dir/server"

in_dir() { (cd "$dir" && "${as_server[@]}" "$@"); }

stop() {
    local status=$?
    trap - EXIT INT TERM HUP
    in_dir "$bin/pg_ctl" -D "$dir/server/data" -m immediate -w -t 30 stop >/dev/null 2>&1 || true
    rm -rf "$dir"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

in_dir "$bin/initdb" -D "$dir/server/data" -U tollgate -A trust -E UTF8 --locale=C \
    --no-instructions --no-sync >"$dir/initdb.log" 2>&1 || {
    cat "$dir/initdb.log" >&2
    exit 1
}

started=
for _ in 1 2 3 4 5; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 40000))
    # Autovacuum, WAL and checkpoints stay as they are; only the flushes go.
    in_dir "$bin/pg_ctl" -D "$dir/server/data" -l "$dir/server/log" -w -t 60 start -o \
        "-c listen_addresses=127.0.0.1 -p $port -k $dir/server -c max_connections=200 -c fsync=$durable -c full_page_writes=$durable" \
        >"$dir/start.log" 2>&1 && started=yes && break
done
if [ -z "$started" ]; then
    cat "$dir/start.log" "$dir/server/log" >&2
    echo "postgres: the private server did not start" >&2
    exit 1
fi

export TOLLGATE_TEST_POSTGRES="postgres://tollgate@127.0.0.1:$port/postgres"
export TOLLGATE_TEST_POSTGRES_DURABLE=$durable
echo "postgres: private server on 127.0.0.1:$port, fsync $durable" >&2

# In the background and waited for, so that a signal stops the server too.
"$@" &
child=$!
trap 'kill -INT "$child" 2>/dev/null || true; wait "$child" || true; exit 130' INT
trap 'kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; exit 143' TERM HUP
status=0
wait "$child" || status=$?
exit "$status"
