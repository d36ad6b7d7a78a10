#!/usr/bin/env bash
# Times the release binary beside nginx on one simulated upstream, on SQLite and on a PostgreSQL that
# flushes; arguments go to bench_gateway. Ends with one line of JSON; exits non-zero when a bound does
# not hold.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"

scripts/tools.sh nginx
cargo build --release --locked -p acceptance --bin load --bin bench_gateway >&2
# Each silent stream takes two sockets.
ulimit -n "$(ulimit -Hn)"
target=${CARGO_TARGET_DIR:-target}/release
PATH="$PATH:/usr/sbin" exec scripts/postgres.sh --durable "$target/bench_gateway" "$@"
