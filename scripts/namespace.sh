#!/usr/bin/env bash
# Runs a command in network, mount and process namespaces of its own: scripts/namespace.sh COMMAND...
#
# The command may lay out networks as it likes with `ip`; nothing of it is seen outside, and all of
# it is gone, with every process that the command started, when it ends, however it ends.
# Needs root, because it is root who may make namespaces with networks between them.
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: scripts/namespace.sh COMMAND [ARG...]" >&2
    exit 2
fi
if [ "$(id -u)" != 0 ]; then
    echo "namespace: network namespaces need root; run it again with sudo" >&2
    exit 1
fi
for program in unshare ip; do
    if ! command -v "$program" >/dev/null; then
        echo "namespace: $program was not found; install util-linux and iproute2" >&2
        exit 1
    fi
done
if ! unshare --net --mount --pid --fork true 2>/dev/null; then
    echo "namespace: this machine does not let root make namespaces (in a container it takes the" \
        "capabilities SYS_ADMIN and NET_ADMIN); run it elsewhere" >&2
    exit 1
fi

mkdir -p /run/netns
# The inner shell is not replaced: as the first process of its namespace the command would not hear
# Ctrl-C.
exec unshare --net --mount --pid --fork --kill-child --mount-proc bash -c '
    mount -t tmpfs none /run/netns
    ip link set lo up
    "$@"
    exit $?' namespace "$@"
