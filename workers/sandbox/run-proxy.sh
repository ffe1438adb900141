#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs apt-cacher-ng with the given settings, and keeps its cache, the current folder, below a size.
# usage: run-proxy.sh CACHE_BYTES SETTING...
set -eu

most=$1
shift
folder=${TMPDIR:-/tmp}/proxy
mkdir -p "$folder/log"
# Its log would fill the memory that it is in; what it cannot do it says on its output.
printf '%s\n' "$@" "LogDir: $folder/log" "SocketPath: $folder/socket" 'VerboseLog: 0' 'ReportPage:' \
    'SupportDir: /usr/lib/apt-cacher-ng' >"$folder/acng.conf"

is_larger_than() {
    size=$(du --summarize --block-size=1 .)
    [ "${size%%[!0-9]*}" -gt "$1" ]
}

# What nobody asked for in so many minutes goes, until there is room.
forget() {
    for minutes in "$@"; do
        is_larger_than "$most" || break
        find . -type f -amin "+$minutes" -delete
    done
}

# Whoever asks for much in a short time fills it with what is in use. Of a file that is open nothing is freed until
# it is closed: only the end of the whole proxy frees it. The engine starts it again, and nothing is open then.
forget 43200 10080 1440 60 5 0 || true

while sleep 10; do
    if is_larger_than "$most"; then
        forget 43200 10080 1440 60 5 || true
        ! is_larger_than "$((2 * most))" || { kill -KILL "$$"; exit; }
    fi
    for log in "$folder"/log/*; do
        [ ! -f "$log" ] || : >"$log"
    done
done &

exec apt-cacher-ng -c "$folder"
