# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an update may be signed, by what people signed and the signer's own policy. Pure; raises SignerRefused.

What the farm says of its approvals is not looked at. `submitter` and `signed_by` only ever make fewer people count.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from coordinator.dsc import is_file_name, without_epoch
from coordinator.errors import SignerRefused
from coordinator.model import File, SigningRequest, Update
from coordinator.signer.approvers import Approver, Statement
from coordinator.signer.policy import Policy


@dataclass(frozen=True)
class Evidence:
    """What was found good: the key to sign with, and whose approvals counted."""

    key: str
    people: tuple[str, ...]


def check_facts(update: Update) -> None:
    """Refuse facts that are not of one plain line each, and files that could be taken for others.

    Two updates that differ could otherwise make the same text to sign; and what is a file's name becomes a path here.
    """
    for what, word in (("name", update.source.name), ("version", update.source.version), ("suite", update.suite)):
        if not re.fullmatch(r"[!-~]+", word):
            raise SignerRefused(f"the {what} {word[:80]!r} is not one plain word")
    if not update.submitter.isprintable():
        raise SignerRefused(f"the submitter's name {update.submitter[:80]!r} is not one plain line")
    for file in digests(update):
        if not is_file_name(file.name) or not re.fullmatch(r"[0-9a-f]{64}", file.sha256) or file.size < 0:
            raise SignerRefused(f"{file.name[:80]!r} is not a plain file name with a sha256 and a size")
    if not update.source.files or not update.source.dsc.name.endswith(".dsc"):
        raise SignerRefused("the source's first file is not a .dsc")
    if not is_file_name(changes_name(update)):
        raise SignerRefused(f"{changes_name(update)[:80]!r} is not a plain file name")
    _refuse_two_of_a_name(shipped(update))


def check(
    request: SigningRequest,
    policy: Policy,
    approvers: Sequence[Approver],
    approvals: Sequence[Statement],
    authors: Iterable[str],
) -> Evidence:
    """The evidence, if it is enough. `approvals` are what people signed, `authors` who signed the source itself."""
    update = request.update
    key = policy.keys.get(request.key)
    if key is None:
        raise SignerRefused(
            f"the signer has no key called {request.key[:80]!r}; it has {', '.join(sorted(policy.keys))}"
        )
    _refuse_shared_keys(approvers)
    expected = update.digest_set().encode()
    agreed = {statement.person for statement in approvals if statement.signed == expected}
    own = {update.submitter, *authors, *_holders(update.source.signed_by, approvers)}
    needed = max(policy.approvals, update.approvals_needed)
    if len(agreed - own) < needed:
        raise SignerRefused(_too_few(update, agreed, own, needed))
    return Evidence(key, tuple(sorted(agreed - own)))


def digests(update: Update) -> tuple[File, ...]:
    """Every file of the digest set."""
    return (*update.source.files, *update.built_files())


def shipped(update: Update) -> tuple[File, ...]:
    """The files that will be in the upload: all but the builds' .changes, which become one.

    Those may differ under one name: each build makes a `_source.changes`, and dpkg-genchanges names in it whatever
    .buildinfo is there.
    """
    return tuple(dict.fromkeys(file for file in digests(update) if not file.name.endswith(".changes")))


def changes_name(update: Update) -> str:
    """The name of the .changes for all architectures, as mergechanges(1) has it."""
    return f"{update.source.name}_{without_epoch(update.source.version)}_multi.changes"


def _refuse_two_of_a_name(files: Sequence[File]) -> None:
    names = [file.name for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SignerRefused(f"there are different files called {', '.join(twice)}")


def _refuse_shared_keys(approvers: Sequence[Approver]) -> None:
    """Whoever holds a key that is in two files would count twice."""
    for one, other in combinations(approvers, 2):
        if shared := sorted(one.keys & other.keys):
            raise SignerRefused(f"the key {shared[0]} is in the files of {one.name} and {other.name}: who is it?")


def _holders(key: str, approvers: Sequence[Approver]) -> Iterator[str]:
    return (approver.name for approver in approvers if key.lower() in approver.fingerprints)


def _too_few(update: Update, agreed: set[str], own: set[str], needed: int) -> str:
    found = ", ".join(sorted(agreed - own)) or "nobody"
    said = f"{len(agreed - own)} of {needed} approvals of update {update.id} count: {found}"
    if agreed & own:
        said += f"; {', '.join(sorted(agreed & own))} made or submitted it and may not approve it"
    return said
