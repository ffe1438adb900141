#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The database server of docker-compose.yml: makes its cluster on the first start, then serves. The password is a file.
set -eu
folder=/var/lib/postgresql/farm
for found in /usr/lib/postgresql/*/bin; do PATH=$found:$PATH; done

if [ ! -s "$folder/PG_VERSION" ]; then
    # The password file is libpq's, whose last field is the password.
    sed 's/.*://' /var/farm/database/password >/tmp/password
    initdb --pgdata="$folder" --username=patchfarm --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$folder/pg_hba.conf"
    echo "CREATE DATABASE patchfarm" | postgres --single -D "$folder" postgres
fi
exec postgres -D "$folder" -c listen_addresses='*' -c unix_socket_directories=''
