#!/usr/bin/env bash
# Random usages of every model that is sold by tokens, priced by LiteLLM, by genai-prices and here:
# see tests/oracle/oracle.py. Installs the two, pinned, into .tools when missing; asks no network then.
# --record keeps a part of the answers for the tests.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

scripts/tools.sh cargo-nextest python

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
"$venv/bin/python" tests/oracle/oracle.py ask "$@" "$work/usages.jsonl"
echo "oracle: rating" >&2
TOLLGATE_ORACLE_USAGES=$work/usages.jsonl TOLLGATE_ORACLE_CHARGES=$work/charges.jsonl \
    cargo nextest run --locked -p server -E 'test(a_file_of_usages_is_rated)' \
    --run-ignored only --status-level none --final-status-level fail --cargo-quiet >&2
if $record; then
    "$venv/bin/python" tests/oracle/oracle.py record "$work/usages.jsonl" "$work/charges.jsonl" \
        tests/oracle/recorded.jsonl
fi
"$venv/bin/python" tests/oracle/oracle.py judge "$@" "$work/usages.jsonl" "$work/charges.jsonl"
