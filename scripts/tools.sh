#!/usr/bin/env bash
# Finds or installs what the recipes need: scripts/tools.sh NAME...
#
# Programs written in Rust are installed into the ignored folder .tools, at a pinned version.
# Programs of the system are used where they are found, else installed with apt-get when root.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
tools="$root/.tools"
export PATH="$tools/bin:$PATH"

CARGO_DENY_VERSION=0.20.2
CARGO_NEXTEST_VERSION=0.9.143
NODE_MAJOR=18

say() { echo "tools: $*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# cargo_tool NAME VERSION: installs a program from the registry.
cargo_tool() {
    say "installing $1 $2 into .tools (once; a few minutes)"
    # --debug: a third of the compile time; these tools are run once per test run.
    # An own target folder, so that an interrupted installation goes on where it stopped.
    CARGO_TARGET_DIR="$tools/build/$1" CARGO_PROFILE_DEV_DEBUG=false \
        cargo install "$1" --version "$2" --locked --debug --force --root "$tools" >&2
    rm -rf "$tools/build/$1"
}

# system_package WHAT PACKAGE...: installs packages of the distribution.
system_package() {
    local what=$1
    shift
    if ! have apt-get; then
        say "$what was not found; install it with the package manager of this system and try again"
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        say "$what was not found; install it with:  sudo apt-get install $*"
        exit 1
    fi
    say "installing $what: apt-get install $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null || {
        apt-get update -qq >&2 </dev/null
        apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null
    }
}

# Prints the folder of the PostgreSQL server programs, the newest first.
postgres_bin() {
    local initdb
    for initdb in $(ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
        /opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb \
        2>/dev/null | sort -rV) "$(command -v initdb || true)"; do
        if [ -x "$initdb" ] && [ -x "$(dirname "$initdb")/pg_ctl" ]; then
            dirname "$initdb"
            return 0
        fi
    done
    return 1
}

node_is_new_enough() {
    have node && have npm && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ]
}

ensure() {
    case "$1" in
    cargo-deny)
        [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ] ||
            cargo_tool cargo-deny "$CARGO_DENY_VERSION"
        ;;
    cargo-nextest)
        have cargo-nextest || cargo_tool cargo-nextest "$CARGO_NEXTEST_VERSION"
        ;;
    postgres)
        postgres_bin >/dev/null || system_package "the PostgreSQL server" postgresql
        postgres_bin || {
            say "the PostgreSQL server programs were not found after the installation"
            exit 1
        }
        ;;
    pgbench)
        # It comes with the server.
        ensure postgres >/dev/null
        pgbench=$(postgres_bin)/pgbench
        [ -x "$pgbench" ] || pgbench=$(command -v pgbench || true)
        [ -n "$pgbench" ] || system_package "pgbench" postgresql-contrib
        [ -n "$pgbench" ] || pgbench=$(postgres_bin)/pgbench
        echo "$pgbench"
        ;;
    python)
        if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
            system_package "Python with venv" python3 python3-venv
        fi
        ;;
    node)
        node_is_new_enough || system_package "Node.js" nodejs npm
        node_is_new_enough || {
            say "Node.js $NODE_MAJOR or newer is needed, found $(node --version 2>/dev/null || echo none)"
            exit 1
        }
        ;;
    nginx) have nginx || [ -x /usr/sbin/nginx ] || system_package "nginx" nginx-light ;;
    wrk) have wrk || system_package "wrk" wrk ;;
    *)
        say "unknown tool: $1"
        exit 2
        ;;
    esac
}

for tool in "$@"; do
    ensure "$tool"
done
