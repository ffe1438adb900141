# SPDX-License-Identifier: GPL-3.0-or-later
"""A build whose dependency is in no archive yet waits for it, and begins by itself when it is there.

Real everything: apt, its words and a signed archive. Its keyring is the recipe's own; a mirror that fails is no
package's fault.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coordinator.config import RECIPES
from tests.acceptance.kit import PATIENCE, Shell
from tests.acceptance.mirror import SmallArchive, serving
from tests.sources import Person, make_source, resign
from workers.keyring import SHARED

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2 * PATIENCE)]

SUITE = "bookworm-security"
NEEDS = "Build-Depends: needed (>= 2)\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallArchive]:
    """In the place of the security archive."""
    made = SmallArchive(tmp_path_factory.mktemp("archive"), SUITE, Person("archive"))
    made.publish(("needed", "1.0"))
    with serving(made):
        yield made


@pytest.fixture(scope="module")
def farm(archive: SmallArchive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A farm whose recipe trusts a keyring of its own, with the small archive's key in it beside Debian's."""
    recipes = tmp_path_factory.mktemp("recipes")
    recipe = (RECIPES / "debian" / "bookworm-security.toml").read_text()
    for key, value in (("build", '["amd64"]'), ("all-on", '"amd64"'), ("archive-keyring", '"both"')):
        recipe = re.sub(rf"(?m)^({key} +=).*$", rf"\1 {value}", recipe)
    (recipes / "recipe.toml").write_text(recipe.replace(", optional = true", ""))
    shell = Shell(
        tmp_path_factory.mktemp("farm") / "home",
        {
            "PATCHFARM_RECIPES": str(recipes),
            "PATCHFARM_SECURITY_MIRROR": archive.url,
            "PATCHFARM_LOOK_SECONDS": "5",
        },
    )
    shell("up")
    debian = (SHARED / "debian-archive-keyring.gpg").read_bytes()
    (shell.home / "keyrings" / "both.pgp").write_bytes(debian + bytes(archive.person.cert))
    yield shell
    shell("down")


@pytest.fixture(scope="module")
def update(farm: Shell, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Of a source that needs what the archive does not have."""
    folder, sam = tmp_path_factory.mktemp("source"), Person("sam")
    farm("submitter", "add", "sam", str(sam.write_cert(folder)), "--replace")
    dsc = make_source(folder, "sample", "1.0-1", sam, tested=False)[0]
    resign(dsc, sam, lambda text: text.replace("Checksums-Sha1:", f"{NEEDS}Checksums-Sha1:"))
    number: int = farm.json("submit", str(dsc), "--suite", SUITE)["id"]
    return number


def build_of(farm: Shell, number: int) -> Any:
    return next(job for job in farm.json("show", str(number))["jobs"] if job["kind"] == "build")


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    latest = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < latest
        time.sleep(1)


def test_it_waits_and_says_for_what(farm: Shell, update: int) -> None:
    until(lambda: build_of(farm, update)["reason"] != "")
    build = build_of(farm, update)
    assert (build["state"], build["reason"]) == ("dep-wait", "waits for needed (>= 2)")
    assert "waits for needed (>= 2)" in farm("show", str(update))


def test_a_mirror_that_fails_is_the_farms_fault_and_not_the_packages(
    farm: Shell, archive: SmallArchive, update: int
) -> None:
    archive.down.set()
    farm("retry", str(update))
    until(lambda: "503" in farm("history", str(update)))
    archive.down.clear()
    (lost,) = (entry for entry in farm.json("history", str(update)) if entry["event"] == "JobLost")
    assert "503" in lost["detail"]


def test_it_is_built_by_itself_once_the_archive_has_what_it_waits_for(
    farm: Shell, archive: SmallArchive, update: int
) -> None:
    until(lambda: build_of(farm, update)["state"] == "dep-wait")
    archive.publish(("needed", "2.0"))
    until(lambda: build_of(farm, update)["state"] == "succeeded")
    events = [entry["event"] for entry in farm.json("history", str(update))]
    assert events[events.index("DependenciesMet") + 1 :][:2] == ["JobClaimed", "JobEnded"]
