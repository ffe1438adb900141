#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the commands of one step in order and stops at the first that fails, with its exit code.
# usage: run-step.sh PATTERNS COUNT ARGUMENT... [COUNT ARGUMENT...]...
# Arguments are passed on as they are: nothing here splits, expands or evaluates them.
# However it ends, the files that fit PATTERNS, one on a line, are then in the folder .outputs too: they can be fetched
# at once. Whatever a package does to that folder, it can have done to its files: whoever fetches them believes nothing.

# One pipe for both, so that the log keeps their order.
exec 2>&1

# Runs what is left of its arguments when the first $1 of them are gone.
run_after() {
    shift "$(($1 + 1))"
    printf '+ %s\n' "$*"
    "$@"
}

# Says whether the kernel refused to start a process: only in here is that counted. Needs no process of its own.
tell_refused() {
    for counts in /sys/fs/cgroup/pids.events /sys/fs/cgroup/pids/pids.events; do
        [ -r "$counts" ] || continue
        while read -r word count; do
            [ "$word" != max ] || [ "$count" = 0 ] || echo 'run-step: the limit of processes was reached'
        done <"$counts"
    done
}

# Puts the files that fit the patterns aside. In here no argument is the step's.
set_aside() {
    [ -n "$patterns" ] || return
    rm -rf .outputs
    set --
    IFS='
'
    for file in $patterns; do
        [ -e "$file" ] || [ -L "$file" ] || continue
        if [ -f "$file" ] && [ ! -L "$file" ]; then
            set -- "$@" "./$file"
        else
            printf 'run-step: not a regular file: %s\n' "$file"
        fi
    done
    [ "$#" != 0 ] || return
    # A file of another user can be copied where the kernel lets nobody else make a link to it.
    mkdir .outputs && { ln "$@" .outputs 2>/dev/null || cp --no-dereference --no-clobber "$@" .outputs; }
}

patterns=$1
shift
trap '[ "$?" = 0 ] || tell_refused; set_aside' EXIT

# The arguments are a ring: a command is turned to the end, run from there, and stays behind.
left=$#
while [ "$left" -gt 0 ]; do
    count=$1
    left=$((left - count - 1))
    shift
    turned=0
    while [ "$turned" -lt "$count" ]; do
        set -- "$@" "$1"
        shift
        turned=$((turned + 1))
    done
    run_after "$(($# - count))" "$@" || exit
done
