#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# usage: hide-source.sh SOURCE
# Makes apt forget what the archive has built from a source package, until its next update: what is tested is what the
# farm built, and apt takes two packages with the same version for one, whatever is in them.
set -eu

for list in /var/lib/apt/lists/*_Packages; do
    [ -e "$list" ] || continue
    # shellcheck disable=SC2016  # awk's own variables
    awk -v RS= -v ORS='\n\n' -v source="$1" '{
        built_from = ""
        count = split($0, lines, "\n")
        for (number = 1; number <= count; number++) {
            split(lines[number], words, " ")
            if (words[1] == "Source:" || (words[1] == "Package:" && built_from == ""))
                built_from = words[2]
        }
        if (built_from != source) print
    }' "$list" >"$list.kept"
    mv "$list.kept" "$list"
done
