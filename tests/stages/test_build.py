# SPDX-License-Identifier: GPL-3.0-or-later
"""Build: what a builder is told, and what each of its answers means."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from coordinator.dsc import MAX_BYTES
from coordinator.model import JobState, sha256_of
from coordinator.stages import build
from coordinator.work import Judgement
from tests.fakes.workshop import listing
from tests.pipeline.walk import Walk, report_on
from tests.stages.kit import RECIPE, SITE, timing
from workers.wire.arch import Arch
from workers.wire.order import JobKind
from workers.wire.report import Artifact, Outcome, Report

WALK = Walk().plan((Arch.AMD64, Arch.ALL), ())
OWN, INFO, OF_SOURCE = "hello_1.0_amd64.changes", "hello_1.0_amd64.buildinfo", "hello_1.0_source.changes"
SOURCE = WALK.update.source
DEB = b"a package"
#: As dpkg-genchanges writes it, but for the sections that name the files.
SAYS = """\
Format: 1.8
Date: Thu, 01 Jan 2026 00:00:00 +0000
Source: hello
Binary: hello hello-dbgsym
 libhello-perl
Architecture: amd64
Version: 1.0-1+deb12u1
Distribution: bookworm-security
Urgency: high (for those who greet strangers)
Maintainer: Zoë Müller <zoe@example.org>
Changed-By: Zoë Müller <zoe@example.org>
Description:
 hello      - greets — and is greeted
 libhello-perl - greets in Perl
Closes: 123 456
Changes:
 hello (1.0-1+deb12u1) bookworm-security; urgency=high
 .
   * Greet naïvely: no more.
     (CVE-2025-0001) → safe
   [ Zoë ]
""".encode()
BUILT_WITH = b"""\
Format: 1.0
Source: hello
Binary: hello
Architecture: amd64
Version: 1.0-1+deb12u1
"""
INSTALLED = b"""\
Build-Origin: Debian
Installed-Build-Depends:
 dpkg (= 1.21.22),
 make (= 4.3)
Environment:
 LC_ALL="C"
"""


def made() -> dict[str, bytes]:
    """What a build leaves, by name."""
    debs = {"hello_1.0_amd64.deb": DEB, "hello-dbgsym_1.0_amd64.deb": b"symbols", "hello-di_1.0_amd64.udeb": b"small"}
    info = BUILT_WITH + listing(debs).replace("Files:", "Checksums-Md5:").encode() + INSTALLED
    own = SAYS + listing({INFO: info, **debs}, " misc optional").encode()
    return {**debs, INFO: info, OWN: own}


FILES = made()
MADE = tuple(FILES)


def report(outcome: Outcome = Outcome.FINISHED, *, exit_code: int = 0, made: tuple[str, ...] = MADE) -> Report:
    return report_of({name: data for name, data in FILES.items() if name in made}, outcome, exit_code)


def report_of(files: Mapping[str, bytes], outcome: Outcome = Outcome.FINISHED, exit_code: int = 0) -> Report:
    artifacts = tuple(Artifact(name, sha256_of(data), len(data)) for name, data in files.items())
    said = report_on(WALK.update, JobKind.BUILD, Arch.AMD64, 1)
    steps = (timing("depends"), timing("compile", exit_code))
    return replace(said, outcome=outcome, reason="so it was", steps=steps, artifacts=artifacts)


def judge(said: Report, files: Mapping[str, bytes] = FILES) -> Judgement:
    return build.judge(said, SOURCE, {paper.name: files[paper.name] for paper in build.papers(said)})


def refusal(files: Mapping[str, bytes]) -> str:
    """Why a build that left these files failed."""
    said = judge(report_of(files), files)
    assert said.state == JobState.FAILED
    return said.reason


def test_a_builder_gets_the_source_and_nothing_else() -> None:
    order = build.order(WALK.update, WALK.job(JobKind.BUILD, Arch.AMD64), RECIPE, SITE)
    assert [given.name for given in order.inputs] == [file.name for file in WALK.update.source.files]
    assert [step.name for step in order.steps] == [step.name for step in RECIPE.build.step]
    assert order.collect == RECIPE.build.collect


@pytest.mark.parametrize(("arch", "half"), [(Arch.AMD64, "any"), (Arch.ALL, "all")])
def test_each_half_of_a_package_is_built_by_itself(arch: Arch, half: str) -> None:
    order = build.order(WALK.update, WALK.job(JobKind.BUILD, arch), RECIPE, SITE)
    assert order.host == Arch.AMD64
    assert f"--build={half}" in [word for step in order.steps for argv in step.run for word in argv]


def test_a_build_that_ended_well_with_its_files_succeeded() -> None:
    assert judge(report()) == Judgement(JobState.SUCCEEDED, "")


def test_a_build_with_an_exit_code_failed_in_the_step_that_had_it() -> None:
    assert judge(report(exit_code=2)) == Judgement(JobState.FAILED, "step compile ended with exit code 2")


@pytest.mark.parametrize("ending", [".deb", ".buildinfo", ".changes"])
def test_a_build_that_left_no_file_of_a_kind_failed(ending: str) -> None:
    judged = judge(report(made=tuple(name for name in MADE if not name.endswith(ending))))
    assert (judged.state, judged.reason) == (JobState.FAILED, f"the build ended well but left no {ending}")


def test_a_build_that_left_nothing_says_all_that_is_missing() -> None:
    assert judge(report(made=())).reason == ("the build ended well but left no .deb and no .changes and no .buildinfo")


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Outcome.UNINSTALLABLE, JobState.UNINSTALLABLE, "so it was"),
        (Outcome.OUT_OF_TIME, JobState.FAILED, "out of time: so it was"),
        (Outcome.OUT_OF_MEMORY, JobState.FAILED, "out of memory: so it was"),
        (Outcome.LOG_TOO_LONG, JobState.FAILED, "log too long: so it was"),
        (Outcome.OUTPUT_TOO_LARGE, JobState.FAILED, "output too large: so it was"),
        (Outcome.CANCELLED, JobState.CANCELLED, "so it was"),
        (Outcome.BROKEN, None, "so it was"),
        (Outcome.GIVEN_BACK, None, "so it was"),
    ],
)
def test_every_other_outcome_means_one_thing(outcome: Outcome, state: JobState | None, reason: str) -> None:
    assert judge(report(outcome)) == Judgement(state, reason)


def test_a_cancelled_build_without_a_reason_gets_one() -> None:
    assert judge(replace(report(Outcome.CANCELLED), reason="")).reason == "cancelled"


@pytest.mark.parametrize("outcome", Outcome)
def test_every_judgement_but_success_has_a_reason(outcome: Outcome) -> None:
    judged = judge(report(outcome))
    assert judged.reason or judged.state == JobState.SUCCEEDED


# The papers and the files.


def of_source(files: Mapping[str, bytes]) -> bytes:
    return SAYS.replace(b"amd64", b"source") + listing(files, " misc optional").encode()


def test_a_changes_of_the_source_beside_the_builds_own_is_as_it_should_be() -> None:
    names = {**FILES, OF_SOURCE: of_source({INFO: FILES[INFO]})}
    assert judge(report_of(names), names).state == JobState.SUCCEEDED


def test_a_package_that_the_changes_does_not_name_is_not_taken() -> None:
    files = {**FILES, "evil_1_amd64.deb": b"evil"}
    assert refusal(files) == "hello_1.0_amd64.changes does not name what came out: evil_1_amd64.deb"


def test_a_package_that_did_not_come_out_as_the_changes_says_is_not_taken() -> None:
    files = {**FILES, "hello_1.0_amd64.deb": b"other bytes"}
    why = "names what did not come out so: hello_1.0_amd64.deb"
    assert refusal(files).endswith(why)


@pytest.mark.parametrize("gone", ["hello-dbgsym_1.0_amd64.deb", "hello-di_1.0_amd64.udeb"])
def test_a_file_that_the_changes_names_and_that_did_not_come_out_is_told(gone: str) -> None:
    files = {name: data for name, data in FILES.items() if name != gone}
    assert refusal(files).endswith(f"names what did not come out so: {gone}")


def test_a_changes_of_the_source_names_nothing_that_nobody_has() -> None:
    files = {**FILES, OF_SOURCE: of_source({"other_1.dsc": b"another source"})}
    assert refusal(files) == f"{OF_SOURCE} names what did not come out so: other_1.dsc"


@pytest.mark.parametrize("name", [OWN, INFO])
def test_papers_of_another_package_are_not_taken(name: str) -> None:
    files = {**FILES, name: FILES[name].replace(b"Version: 1.0-1+deb12u1", b"Version: 9")}
    if name == INFO:
        files[OWN] = SAYS + listing({key: files[key] for key in MADE[:-1]}, " misc optional").encode()
    assert refusal(files) == f"{name} is of hello 9, not of hello 1.0-1+deb12u1"


def test_papers_that_cannot_be_read_are_told_by_name() -> None:
    assert refusal({**FILES, OWN: b"\n\n"}).startswith(f"{OWN}: ")
    assert refusal({**FILES, OWN: b"x" * (MAX_BYTES + 1)}).startswith(f"{OWN}: the .changes has 1048577 bytes")


@pytest.mark.parametrize("more", [("b.changes",), ("b.buildinfo",), ("a_source.changes", "b_source.changes")])
def test_it_must_be_clear_which_papers_are_the_builds_own(more: tuple[str, ...]) -> None:
    files = {**FILES, **dict.fromkeys(more, b"")}
    assert refusal(files).startswith("the build left other than one .changes and one .buildinfo: ")


def test_of_very_many_papers_few_are_read() -> None:
    files = {f"{number}.changes": b"" for number in range(100)}
    assert len(build.papers(report_of({**FILES, **files}))) == 3
    assert refusal({**FILES, **files}).endswith(" and 97 more")
