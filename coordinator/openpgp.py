# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks OpenPGP signatures. Holds no secret key, trusts nobody but the keyrings it is given with each question.

A library's own words never leave this module: they may hold a stack trace.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pysequoia
from pysequoia import Cert
from pysequoia.packet import Packet, PacketPile, SignatureType, Tag

from coordinator.dsc import cleartext
from coordinator.errors import BadRecipe, BadSignature, BadSource
from coordinator.model import Signature

#: Bigger than any Release file; what is longer is not looked at.
MAX_BYTES = 16 << 20


def load_certs(path: Path) -> tuple[Cert, ...]:
    """The certificates in a keyring file, binary or armored, or in the files of a folder. Raises BadRecipe."""
    try:
        paths = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
        contents = [entry.read_bytes() for entry in paths]
    except OSError as error:
        raise BadRecipe(
            f"the keyring {path} cannot be read: {error.strerror}", "Put the keyring there, or name another."
        ) from error
    return tuple(cert for entry, data in zip(paths, contents, strict=True) for cert in _parse(entry, data))


def fingerprint(cert: Cert) -> str:
    """The primary key's, lower case."""
    return cert.fingerprint.lower()


def user_id(cert: Cert) -> str:
    """The first user id that is not revoked, or the fingerprint where there is none."""
    return next((str(user) for user in cert.user_ids), fingerprint(cert))


def lines(text: bytes) -> list[bytes]:
    """The lines without white space at their ends, which a signature of text leaves out as well (RFC 9580, 7.2)."""
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


class SequoiaVerifier:
    """The port Verifier. What a certificate or key signed counts no more once it is revoked or has expired."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def clearsigned(self, data: bytes, keyrings: Sequence[Path]) -> Signature:
        """What is signed and by whom. Raises BadSignature; one good signature of several is enough.

        `signed` ends with one line feed: whether there was one is not part of the signature (RFC 9580, 7.2).
        """
        if len(data) > MAX_BYTES:
            raise BadSignature(f"it has {len(data)} bytes; {MAX_BYTES} is the most that is looked at")
        try:
            framed = cleartext(data)
        except BadSource as error:
            raise BadSignature(error.message) from error
        certs = {fingerprint(cert): cert for keyring in keyrings for cert in load_certs(keyring)}
        verified, signers = _verify(data, list(certs.values()))
        signed = verified.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
        if lines(framed) != lines(signed):
            raise BadSignature("what is signed is not what the message shows")
        reasons = [self._unfit(certs[primary], key) for primary, key in signers]
        if all(reasons):
            raise BadSignature(reasons[0])
        return Signature(signed, signers[reasons.index("")][0])

    def _unfit(self, cert: Cert, key: str) -> str:
        """Why a key of a certificate may not sign, or nothing."""
        now, name = self._now(), f"{user_id(cert)} ({fingerprint(cert)})"
        if cert.is_revoked:
            return f"the certificate of {name} is revoked"
        if cert.expiration is not None and cert.expiration <= now:
            return f"the certificate of {name} has expired on {cert.expiration:%Y-%m-%d}"
        if key == fingerprint(cert):
            return ""
        return _subkey_unfit(cert, key, now, name)


def _parse(path: Path, data: bytes) -> list[Cert]:
    try:
        return Cert.split_bytes(data)
    except RuntimeError:
        raise BadRecipe(
            f"{path} is not a keyring of OpenPGP certificates", "Export it again with `gpg --export`."
        ) from None


def _verify(data: bytes, certs: list[Cert]) -> tuple[bytes, list[tuple[str, str]]]:
    """The signed bytes, and the primary and signing key's fingerprint of each good signature."""
    asked: list[str] = []

    def store(key_ids: list[str]) -> list[Cert]:
        asked.extend(key_ids)
        return [cert for cert in certs if not cert.is_revoked]

    try:
        verified = pysequoia.verify(bytes=data, store=store)
    except RuntimeError:
        by = f"; it says it is by {', '.join(sorted(set(asked))[:4])}" if asked else ""
        raise BadSignature(f"no good signature by anybody in the keyring{by}") from None
    signers = [(sig.certificate.lower(), sig.signing_key.lower()) for sig in verified.valid_sigs]
    if verified.bytes is None or not signers:
        raise BadSignature("no good signature by anybody in the keyring")
    return verified.bytes, signers


def _subkey_unfit(cert: Cert, key: str, now: datetime, name: str) -> str:
    binding: Packet | None = None
    created: datetime | None = None
    for subkey, signature in _subkey_signatures(cert, key):
        created = subkey.key_created
        if signature.signature_type == SignatureType.SubkeyRevocation:
            return f"the signing key {key} of {name} is revoked"
        if signature.signature_type == SignatureType.SubkeyBinding and _later(signature, binding):
            binding = signature
    if binding is None or created is None:
        return f"the signing key {key} is not bound to the certificate of {name}"
    if binding.key_validity_period and created + binding.key_validity_period <= now:
        return f"the signing key {key} of {name} has expired on {created + binding.key_validity_period:%Y-%m-%d}"
    return ""


def _subkey_signatures(cert: Cert, key: str) -> Iterator[tuple[Packet, Packet]]:
    """A subkey, with each of the signatures over it that follow it in the certificate."""
    subkey: Packet | None = None
    for packet in PacketPile.from_bytes(bytes(cert)):
        if packet.tag == Tag.PublicSubkey:
            subkey = packet if (packet.fingerprint or "").lower() == key else None
        elif packet.tag == Tag.Signature and subkey is not None:
            yield subkey, packet


def _later(signature: Packet, than: Packet | None) -> bool:
    if than is None or than.signature_created is None:
        return True
    return signature.signature_created is not None and signature.signature_created > than.signature_created
