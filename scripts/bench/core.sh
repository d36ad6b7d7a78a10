#!/usr/bin/env bash
# Times the rules of money and `tollgate quote`; with arguments only the rules, which get them. Ends
# with one line of JSON; exits non-zero when a bound does not hold.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$root"

if [ $# -gt 0 ]; then
    exec cargo bench --locked -p billing-core --bench per_call -- "$@"
fi
cargo bench --locked -p billing-core --bench per_call --no-run >&2
cargo build --release --locked -p server -p acceptance --bin tollgate --bin bench_quote >&2
verdict=pass
# The table and the progress are for people; the last line of each is its figures.
rules=$(cargo bench --locked --quiet -p billing-core --bench per_call) || verdict=fail
sed '$d' <<<"$rules" >&2
quote=$("${CARGO_TARGET_DIR:-target}/release/bench_quote") || verdict=fail
printf '{"bench":"core","rules":%s,"quote":%s,"verdict":"%s"}\n' \
    "$(tail -n 1 <<<"$rules")" "$quote" "$verdict"
[ "$verdict" = pass ]
