# SPDX-License-Identifier: GPL-3.0-or-later
"""The people whose signatures the signer believes: by its own certificates of them, never by what the farm says.

One file is one person.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pysequoia import Cert
from pysequoia.packet import PacketPile, Tag

from coordinator.errors import BadRecipe, BadSignature
from coordinator.openpgp import SequoiaVerifier, fingerprint, load_certs

_LOG = logging.getLogger(__name__)

_KEYS = (Tag.PublicKey, Tag.PublicSubkey)


@dataclass(frozen=True)
class Approver:
    """A person: the file with their certificates, whose primary fingerprints these are, and every key in them."""

    name: str
    path: Path
    fingerprints: frozenset[str]
    keys: frozenset[str]


@dataclass(frozen=True)
class Known:
    """Everybody with a file in the folder; `unread` are the names of those whose file cannot be read."""

    people: tuple[Approver, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """What a person signed, to the byte."""

    person: str
    signed: bytes


def load(folder: Path) -> Known:
    """Everybody there is. A file that holds no certificates is logged and counts for nobody; the others do count."""
    people, unread = [], []
    for path in sorted(folder.glob("*.asc")):
        try:
            people.append(_approver(path))
        except BadRecipe as error:
            _LOG.warning("action=skip-approver person=%s reason=%s", path.stem, error.message)
            unread.append(path.stem)
    return Known(tuple(people), tuple(unread))


def statements(
    messages: Iterable[bytes], approvers: Sequence[Approver], verifier: SequoiaVerifier
) -> tuple[Statement, ...]:
    """Who signed what of these messages. Signatures that are bad, void, or by anybody else are left out."""
    return tuple(
        Statement(approver.name, signed)
        for message in messages
        for approver in approvers
        if (signed := _signed_by(message, approver, verifier)) is not None
    )


def _signed_by(message: bytes, approver: Approver, verifier: SequoiaVerifier) -> bytes | None:
    # Asked of each person alone: a message may have several signatures, and a verifier names one.
    try:
        return verifier.clearsigned(message, [approver.path]).signed
    except BadSignature:
        return None


def _approver(path: Path) -> Approver:
    certs = load_certs(path)
    keys = frozenset(key for cert in certs for key in _keys(cert))
    return Approver(path.stem, path, frozenset(map(fingerprint, certs)), keys)


def _keys(cert: Cert) -> list[str]:
    packets = PacketPile.from_bytes(bytes(cert))
    return [(packet.fingerprint or "").lower() for packet in packets if packet.tag in _KEYS]
