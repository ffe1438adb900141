# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign: what the signer returns is what was approved, with signatures in their places and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.errors import SignerRefused
from coordinator.model import File, JobState, Update, UpdateState
from coordinator.stages.sign import check_signed
from tests.pipeline.walk import in_state
from workers.wire.arch import Arch
from workers.wire.order import JobKind
from workers.wire.report import Artifact

CHANGES = File("hello_1.0-1+deb12u1_multi.changes", "c" * 64, 9)
BUILDINFO = Artifact("hello_1.0-1+deb12u1_amd64.buildinfo", "1" * 64, 4)
OWN_CHANGES = Artifact("hello_1.0-1+deb12u1_amd64.changes", "2" * 64, 4)
TARBALL = File("hello_1.0.orig.tar.xz", "3" * 64, 8)


def waiting() -> Update:
    """An update in signing that has a file of every kind."""
    update = in_state(UpdateState.SIGNING)
    job = update.job(JobKind.BUILD, Arch.AMD64)
    assert job is not None
    assert job.report is not None
    assert job.state == JobState.SUCCEEDED
    made = (*job.report.artifacts, BUILDINFO, OWN_CHANGES)
    source = replace(update.source, files=(update.source.dsc, TARBALL))
    return replace(update.with_job(replace(job, report=replace(job.report, artifacts=made))), source=source)


UPDATE = waiting()
FILES = [file for file in (*UPDATE.source.files, *UPDATE.built_files()) if not file.name.endswith(".changes")]


def altered(ending: str) -> list[File]:
    return [replace(file, sha256="9" * 64, size=99) if file.name.endswith(ending) else file for file in FILES]


def test_the_files_of_the_update_and_one_changes_are_taken() -> None:
    assert check_signed(UPDATE, [CHANGES, *FILES]) == (CHANGES, *FILES)


@pytest.mark.parametrize("ending", [".dsc", ".buildinfo"])
def test_what_a_signature_goes_into_may_have_other_bytes(ending: str) -> None:
    assert check_signed(UPDATE, [CHANGES, *altered(ending)]) == (CHANGES, *altered(ending))


@pytest.mark.parametrize("ending", [".deb", ".tar.xz"])
def test_a_package_or_a_tarball_with_other_bytes_is_refused(ending: str) -> None:
    with pytest.raises(SignerRefused, match=rf"returned hello_\S+{ending} with other bytes than were approved"):
        check_signed(UPDATE, [CHANGES, *altered(ending)])


OTHERS: dict[str, Callable[[list[File]], list[File]]] = {
    "nothing": lambda _: [],
    "a file less": lambda files: files[:-1],
    "a file more": lambda files: [*files, File("evil_1_amd64.deb", "e" * 64, 1)],
    "a file twice": lambda files: [*files, files[-1]],
    "no changes": lambda files: files[1:],
    "the changes last": lambda files: [*files[1:], files[0]],
    "the changes of one architecture": lambda files: [*files, File(OWN_CHANGES.name, OWN_CHANGES.sha256, 4)],
    "a changes of another name": lambda files: [replace(files[0], name="hello_2_multi.changes"), *files[1:]],
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_files_are_refused(what: str) -> None:
    with pytest.raises(SignerRefused, match="the signer returned other files than the update has"):
        check_signed(UPDATE, OTHERS[what]([CHANGES, *FILES]))


def test_the_changes_is_named_without_the_epoch() -> None:
    update = replace(UPDATE, source=replace(UPDATE.source, version=f"1:{UPDATE.source.version}"))
    assert check_signed(update, [CHANGES, *FILES])[0] == CHANGES
