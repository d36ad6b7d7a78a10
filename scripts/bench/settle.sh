#!/usr/bin/env bash
# Times settlements beside TPC-B of pgbench on one PostgreSQL with fsync on; arguments go to the
# bench. Ends with one line of JSON; exits non-zero when a claim does not hold.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"

PGBENCH=$(scripts/tools.sh pgbench | tail -n 1)
export PGBENCH
cargo bench --locked -p store --bench settle --no-run >&2
exec scripts/postgres.sh --durable cargo bench --locked --quiet -p store --bench settle -- "$@"
