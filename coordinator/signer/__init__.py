# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer, a process of its own: the only one that opens keys. It asks the farm what waits; nobody connects to it.

It believes the farm nothing but what people signed: it has its own policy, and its own certificates of the people.
Its folder: `policy.toml`, `gnupg/`, `approvers/NAME.asc`, `KEY.asc` for each key, `audit.log`.
"""
