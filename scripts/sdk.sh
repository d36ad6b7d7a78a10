#!/usr/bin/env bash
# The official OpenAI SDKs, unmodified and pinned, against the Tollgate that the environment names
# (see scripts/demo.sh). Installs them into .tools and tests/sdk/node/node_modules when missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
: "${TOLLGATE_BASE_URL:?run this through scripts/demo.sh}"

scripts/tools.sh python node

venv=$root/.tools/sdk-python
if ! cmp -s tests/sdk/python/requirements.txt "$venv/installed.txt"; then
    echo "sdk: installing the Python SDK into .tools" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
        --requirement tests/sdk/python/requirements.txt
    cp tests/sdk/python/requirements.txt "$venv/installed.txt"
fi
node=tests/sdk/node
if ! cmp -s "$node/package-lock.json" "$node/node_modules/installed.json"; then
    echo "sdk: installing the Node SDK" >&2
    npm ci --prefix "$node" --no-audit --no-fund --loglevel=error
    cp "$node/package-lock.json" "$node/node_modules/installed.json"
fi

# The calls stay on this machine, whatever proxy the environment names.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost PYTHONDONTWRITEBYTECODE=1

status=0
echo "sdk: Python" >&2
"$venv/bin/python" -m pytest -q -p no:cacheprovider tests/sdk/python || status=1
echo "sdk: Node" >&2
(cd "$node" && node --test --test-reporter=spec --test-timeout=60000 tests/*.test.mjs) || status=1
exit "$status"
