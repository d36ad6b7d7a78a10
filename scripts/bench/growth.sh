#!/usr/bin/env bash
# Times the store with up to a million accounts and ten million calls; arguments go to the bench.
# Takes about a quarter of an hour and 14 GB of disk, which it gives back. Ends with one line of
# JSON; exits non-zero when the hot path grew by more than is claimed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"

cargo bench --locked -p store --bench growth --no-run >&2
# What a run that was stopped leaves behind is large.
trap 'rm -rf "${CARGO_TARGET_DIR:-target}"/tmp/growth-*' EXIT
scripts/postgres.sh --durable cargo bench --locked --quiet -p store --bench growth -- "$@"
