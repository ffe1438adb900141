# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer's own record of what it signed and what it refused, one JSON object a line. Lines are only ever added.

It is written before anything leaves the signer, so that there is no signature that it does not know of.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from coordinator.model import File, Update
from coordinator.signer.evidence import Evidence


def signed(
    path: Path, at: datetime, update: Update, found: Evidence, files: Sequence[tuple[File | None, File]]
) -> None:
    """Files were signed; each is given as it was and as it is, and what was made from nothing with None before."""
    changed = [
        {"name": after.name, "before": before.sha256 if before else None, "after": after.sha256}
        for before, after in files
    ]
    _append(path, {**_what(at, update), "key": found.key, "people": found.people, "signed": changed})


def refused(path: Path, at: datetime, update: Update, reason: str) -> None:
    """Nothing was signed."""
    _append(path, {**_what(at, update), "refused": reason})


def _what(at: datetime, update: Update) -> dict[str, object]:
    source = update.source
    return {"time": at.isoformat(), "update": update.id, "source": source.name, "version": source.version}


def _append(path: Path, entry: Mapping[str, object]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as log:
        log.write(json.dumps(entry).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())
