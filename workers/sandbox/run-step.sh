#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs the commands of one step in order and stops at the first that fails, with its exit code.
# usage: run-step.sh COUNT ARGUMENT... [COUNT ARGUMENT...]...
# Arguments are passed on as they are: nothing here splits, expands or evaluates them.

# One pipe for both, so that the log keeps their order.
exec 2>&1

# Runs what is left of its arguments when the first $1 of them are gone.
run_after() {
    shift "$(($1 + 1))"
    printf '+ %s\n' "$*"
    "$@"
}

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
