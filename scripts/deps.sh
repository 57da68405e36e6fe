#!/bin/sh
# Installs what is missing of the Debian packages that Pohmel needs.
#
#   scripts/deps.sh [build] [test] [bench]     (default: build)
#
# With everything there it does nothing, needs no root and no network.
set -eu

BUILD='gcc libc6-dev meson ninja-build pkg-config python3 python3-protobuf
protobuf-compiler protobuf-c-compiler libprotobuf-c-dev libprotobuf-dev nanopb libnanopb-dev
libgcrypt20-dev libglib2.0-dev libfuse3-dev fuse3 libsqlite3-dev'
TEST='attr acl git rsync sqlite3 make tar util-linux procps e2fsprogs xfsprogs tshark clang libclang-rt-14-dev'
BENCH='git tar e2fsprogs xfsprogs sshfs openssh-server openssh-client'

usage() {
    echo "usage: scripts/deps.sh [build] [test] [bench]" >&2
    exit 2
}

wanted=''
[ $# -gt 0 ] || set -- build
for set in "$@"; do
    case $set in
    build) wanted="$wanted $BUILD" ;;
    test) wanted="$wanted $TEST" ;;
    bench) wanted="$wanted $BENCH" ;;
    *) usage ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: this is not a Debian system; please install the likes of: $(echo $wanted)" >&2
    exit 0
fi

# A virtual package (pkg-config on some releases) counts when something provides it.
is_there() {
    case $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) in
    installed) return 0 ;;
    esac
    return 1
}

missing=''
for package in $wanted; do
    case " $missing " in *" $package "*) continue ;; esac
    is_there "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=''
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root='sudo'
else
    echo "deps: as root, please run: apt-get install$missing" >&2
    exit 1
fi

echo "deps: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 && return 0
    tail -n 20 "$log" >&2
    echo "deps: failed: $*" >&2
    exit 1
}
run apt-get update
run apt-get install -y --no-install-recommends $missing
