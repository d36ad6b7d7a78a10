#!/usr/bin/env bash
# Random usages of every model that is sold by tokens, priced by LiteLLM, by genai-prices, and by
# `tollgate quote` of a house that has imported LiteLLM's map: see tests/oracle/oracle.py. Installs
# the two, pinned, into .tools when missing; asks no network then. --record keeps a part of the
# answers for the tests.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

scripts/tools.sh python

venv=$root/.tools/oracle-python
if ! cmp -s tests/oracle/requirements.txt "$venv/installed.txt"; then
    echo "oracle: installing LiteLLM and genai-prices into .tools" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --requirement tests/oracle/requirements.txt
    cp tests/oracle/requirements.txt "$venv/installed.txt"
fi

record=false
if [ "${1:-}" = --record ]; then
    record=true
    shift
fi
export PYTHONDONTWRITEBYTECODE=1 LITELLM_LOCAL_MODEL_COST_MAP=True
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "oracle: asking" >&2
"$venv/bin/python" tests/oracle/oracle.py ask "$@" "$work/asked.jsonl" "$work/usages.jsonl"

echo "oracle: rating" >&2
cargo build --locked --quiet -p server --bin tollgate >&2
tollgate=${CARGO_TARGET_DIR:-target}/debug/tollgate
# From before the first of the usages on.
"$tollgate" prices import data/model_prices.json --from 2026-01-01 --data "$work" --json >/dev/null
# 1: some usages cannot be rated, and their answers say so; whether they should be is judged below.
"$tollgate" quote --data "$work" --input "$work/usages.jsonl" --output "$work/charges.jsonl" >&2 ||
    [ $? = 1 ]

if $record; then
    "$venv/bin/python" tests/oracle/oracle.py record "$work/asked.jsonl" "$work/charges.jsonl" \
        tests/oracle/recorded.jsonl
fi
"$venv/bin/python" tests/oracle/oracle.py judge "$@" "$work/asked.jsonl" "$work/charges.jsonl"
