# The recipes of Tollgate. Run them with ./just, which installs what it needs.

set shell := ["bash", "-euo", "pipefail", "-c"]

export PATH := justfile_directory() / ".tools/bin" + ":" + env('PATH')

# The list of recipes
[private]
default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Build and start Tollgate in demo mode; ARGS are passed on (`./just run --listen 127.0.0.1:9000`)
run *ARGS:
    cargo run --release --locked -p server --bin tollgate -- demo {{ ARGS }}

# Everything a change must pass: checks, both databases, the SDKs, short race and crash
test: check build
    scripts/postgres.sh '{{ just_executable() }}' suites

# What needs no running server: format, lints, docs, licences and fences
check: fmt-check lint docs deny

# Repair what a tool can repair
fix:
    cargo fmt --all
    cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged

# Race 1,000 calls against a wallet of $1 and against a plan's quotas on both databases, streaming and not
race *ARGS: release
    scripts/postgres.sh cargo run --release --locked -p acceptance --bin race -- {{ ARGS }}

# Kill the server during a burst, restart it, twenty times over
crash *ARGS: release
    scripts/postgres.sh --durable cargo run --release --locked -p acceptance --bin crash -- {{ ARGS }}

# Race 3,000 calls through three nodes against one purse of $1 or one plan's quotas, streaming and not
race-nodes *ARGS: release
    scripts/tools.sh postgres
    cargo run --release --locked -p acceptance --bin race_nodes -- {{ ARGS }}

# Kill nodes and their PostgreSQL under load, 100 times over; promote a standby 10 times
crash-nodes *ARGS: release
    scripts/tools.sh postgres
    cargo run --release --locked -p acceptance --bin crash_nodes -- {{ ARGS }}

# Cut and heal the links between callers, three nodes and their database (needs root)
partition *ARGS: release
    scripts/tools.sh postgres
    cargo build --release --locked -p acceptance --bin partition
    scripts/namespace.sh cargo run --release --locked -p acceptance --bin partition -- {{ ARGS }}

# Restart three nodes in turn behind nginx and behind a balancer that asks for /readyz, under load
rolling *ARGS: release
    scripts/tools.sh postgres nginx
    cargo run --release --locked -p acceptance --bin rolling -- {{ ARGS }}

# Simulate nodes, crashes and outages over the real rules: --seeds N --steps M, --seed S, --flaws
sim *ARGS:
    cargo bench --locked --profile sim -p billing-core --bench sim -- {{ ARGS }}

# Time the rules of money (find a price, rate, authorize, settle) and `tollgate quote`
bench-core *ARGS:
    scripts/bench/core.sh {{ ARGS }}

# Time settlements made durable, on both databases, beside pgbench's TPC-B and a commit for each
bench-settle *ARGS:
    scripts/bench/settle.sh {{ ARGS }}

# Time the store as accounts and calls grow to a million and ten million; --write docs/reference keeps it
bench-growth *ARGS:
    scripts/bench/growth.sh {{ ARGS }}

# Simulate fourteen months of subscriptions and a billing run that is cut off: --accounts N --seeds M, --seed S
year *ARGS:
    cargo bench --locked --profile sim -p billing-core --bench year -- {{ ARGS }}

# Time the gateway beside nginx on one simulated upstream
bench-gateway *ARGS: release
    scripts/bench/gateway.sh {{ ARGS }}

# Measure lanes: boosted calls beside a crowd of standard ones; --seconds N
bench-lanes *ARGS:
    cargo build --release --locked -p server -p acceptance --bin tollgate --bin bench_lanes
    "${CARGO_TARGET_DIR:-target}/release/bench_lanes" {{ ARGS }}

# Price random usages of every model sold by tokens beside LiteLLM and genai-prices; --seed N, --record
oracle-prices *ARGS:
    scripts/oracle.sh {{ ARGS }}

# Write docs/openapi.json, docs/reference/entities.md and docs/reference/outcomes.md anew from the code
bless: build
    TOLLGATE_BLESS=1 cargo nextest run --locked -p server -E 'test(http::docs)' --no-tests=fail
    TOLLGATE_BLESS=1 cargo nextest run --locked -p store -E 'test(schema)' --no-tests=fail
    TOLLGATE_BLESS=1 cargo nextest run --locked -p acceptance -E 'binary(outcomes)' --no-tests=fail

# The SDK suites against a demo of their own
sdk: build
    scripts/demo.sh scripts/sdk.sh

# --- the parts of `check` and `test`; useful by themselves ---

[private]
fmt-check:
    cargo fmt --all --check

[private]
lint:
    cargo clippy --locked --workspace --all-targets -- -D warnings

[private]
docs:
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

[private]
deny:
    scripts/tools.sh cargo-deny
    cargo deny --locked check -A unused-wrapper bans licenses sources

[private]
build:
    cargo build --locked --workspace --lib --bins --tests

[private]
release:
    cargo build --release --locked -p server --bin tollgate

[private]
suites: unit doctest sdk race-short crash-short nodes-short partition-short

[private]
unit:
    scripts/tools.sh cargo-nextest python
    cargo nextest run --locked --workspace

[private]
doctest:
    cargo test --locked --workspace --doc

[private]
race-short:
    scripts/postgres.sh cargo run --locked --bin race -- --short

[private]
crash-short:
    scripts/postgres.sh --durable cargo run --locked --bin crash -- --short

[private]
nodes-short:
    scripts/tools.sh postgres
    cargo run --locked --bin race_nodes -- --short
    cargo run --locked --bin crash_nodes -- --short
    cargo run --locked --bin rolling -- --short

# Not every machine lets a test make network namespaces; one that does not says so here.
[private]
partition-short:
    scripts/tools.sh postgres
    if scripts/namespace.sh true; then \
        scripts/namespace.sh cargo run --locked --bin partition -- --short; \
    else \
        echo 'partition: NOT RUN, for the reason above; run ./just partition where it is possible' >&2; \
    fi
