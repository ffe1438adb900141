# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve: whether a signature is an approval of the update as it is now, and whose.

Enters awaiting-approval; needs a verified signature and who may approve; leaves for signing once enough people agree.
The signer believes none of this: it checks the same signatures again, against certificates of its own.
"""

from collections.abc import Mapping
from datetime import datetime

from coordinator.errors import BadSignature, NotAllowed
from coordinator.model import Approval, Signature, Update, sha256_of


def approval(
    update: Update, signature: Signature, text: str, people: Mapping[str, frozenset[str]], at: datetime
) -> Approval:
    """The approval that a signature is; `people` are names with the primary fingerprints of their certificates.

    `text` is the signed message as it came, for the signer. Raises BadSignature where it is over anything but the
    digest set, NotAllowed where it is by nobody who may approve, or by the submitter.
    """
    expected = update.digest_set()
    if signature.signed != expected.encode():
        raise BadSignature(
            f"what was signed is not what update {update.id} would ship now",
            f"Look at it again and sign that: `patchfarm approve {update.id}`.",
        )
    person = _who(signature.fingerprint, people)
    if person == update.submitter or update.source.signed_by in people[person]:
        raise NotAllowed(f"{person} submitted update {update.id} and may not approve it")
    return Approval(person, signature.fingerprint, sha256_of(expected), text, at)


def void(update: Update, people: Mapping[str, frozenset[str]]) -> tuple[Approval, ...]:
    """The approvals that hold no more: by somebody who is gone, or with a certificate that is not theirs any more."""
    return tuple(held for held in update.approvals if _owners(held.fingerprint, people) != [held.person])


def _who(fingerprint: str, people: Mapping[str, frozenset[str]]) -> str:
    names = _owners(fingerprint, people)
    if len(names) != 1:
        whose = f"of {' and '.join(sorted(names))} alike" if names else "of nobody who may approve"
        raise NotAllowed(f"the key {fingerprint} is {whose}", "`patchfarm approver list` shows who may.")
    return names[0]


def _owners(fingerprint: str, people: Mapping[str, frozenset[str]]) -> list[str]:
    return [name for name, fingerprints in people.items() if fingerprint in fingerprints]
