#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# mmdebstrap's customize hook: makes a bootstrapped system ($1) the base image of build containers.
# PATCHFARM_SCRIPTS is a folder with these scripts and the archive's keyring; PATCHFARM_OPTIONAL one with one apt source
# per file.
# An optional source that does not verify is taken out again and named on a line that begins with `left out:`.
set -eu

root=$1

chroot "$root" groupadd --gid 1000 builder
chroot "$root" useradd --uid 1000 --gid 1000 --no-create-home --home-dir /nonexistent --shell /bin/sh builder
install -d -m 755 "$root/build" "$root/usr/lib/patchfarm"
install -d -m 755 -o 1000 -g 1000 "$root/build/reproducible-path"
for script in run-step.sh run-proxy.sh hide-source.sh; do
    install -m 755 "$PATCHFARM_SCRIPTS/$script" "$root/usr/lib/patchfarm/$script"
done

# No service may start in a container that is thrown away (deb-systemd-invoke, invoke-rc.d).
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

for source in "$PATCHFARM_OPTIONAL"/*.list; do
    [ -e "$source" ] || continue
    name=$(basename "$source")
    installed=$root/etc/apt/sources.list.d/$name
    cp "$source" "$installed"
    chmod 644 "$installed"
    if said=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get update --error-on=any \
        -o Dir::Etc::SourceList="$installed" -o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=0 2>&1); then
        continue
    fi
    rm "$installed"
    printf 'left out: %s %s\n' "$name" "$(printf '%s\n' "$said" | grep '^E:' | head -n 1)"
done >&2

# Every step's container is committed: what was installed need not be there a second time, packed. mmdebstrap needs them.
printf 'APT::Keep-Downloaded-Packages "false";\n' >"$root/etc/apt/apt.conf.d/98patchfarm"

# What the optional sources bring is in the image already, and no attempt has to upgrade it again.
# Without these options dpkg would upgrade the system that this runs on; they are those of mmdebstrap itself.
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG DEBIAN_FRONTEND=noninteractive apt-get --yes -o DPkg::Chroot-Directory="$root" \
    -o Dir::Bin::dpkg=env -o DPkg::Options::=--unset=TMPDIR -o DPkg::Options::=dpkg dist-upgrade >&2

# The sources were bound to the keyring where it lies outside of the system; from now on it is the image's own.
for keyring in "$PATCHFARM_SCRIPTS"/archive-keyring.*; do
    own=/usr/lib/patchfarm/${keyring##*/}
    install -m 644 "$keyring" "$root$own"
    find "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d" -type f \
        -exec sed -i "s|signed-by=$keyring|signed-by=$own|" {} +
done

# The only way to a mirror that a container has, and it has it only where a step needs one. Last, for the way there is now.
printf 'Acquire::http::Proxy "http://patchfarm-proxy:3142";\n' >"$root/etc/apt/apt.conf.d/99patchfarm-proxy"
