#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs apt-cacher-ng with the given settings, and keeps its cache, the current folder, below a size.
# usage: run-proxy.sh CACHE_BYTES SETTING...
set -eu

most=$1
shift
folder=/tmp/proxy
mkdir -p "$folder/log"
# Its log would fill the memory that it is in; what it cannot do it says on its output.
printf '%s\n' "$@" "LogDir: $folder/log" "SocketPath: $folder/socket" 'VerboseLog: 0' 'ReportPage:' \
    'SupportDir: /usr/lib/apt-cacher-ng' >"$folder/acng.conf"

is_too_large() {
    size=$(du --summarize --block-size=1 .)
    [ "${size%%[!0-9]*}" -gt "$most" ]
}

# What nobody asked for in so many minutes goes, until there is room.
keep_small() {
    for minutes in 43200 10080 1440 60; do
        is_too_large || break
        find . -type f -amin "+$minutes" -delete
    done
}

while sleep 60; do
    keep_small || true
    find "$folder/log" -type f -exec truncate --size=0 {} + || true
done &

exec apt-cacher-ng -c "$folder"
