# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on real input: a real source goes in, signed packages come out that apt installs and Debian ships alike.

Real everything: archive, Redis, Celery, containers, gpg, sshd, reprepro, apt.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.acceptance.kit import PATIENCE, Approver, Shell
from tests.sources import Person, make_source
from workers.sandbox import tar

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2 * PATIENCE)]

SOURCE, SUITE = "cjson", "bookworm-security"


@dataclass(frozen=True)
class Published:
    """An update that went all the way on a farm."""

    farm: Shell
    number: int
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def published(farm: Shell, people: list[Approver]) -> Published:
    """The main job, once."""
    submitted = farm.json("submit", SOURCE, "--suite", SUITE, "--from-archive")
    number: int = submitted["id"]
    farm("watch", str(number), "--until", "awaiting-approval")
    people[0].approve(farm, number)
    assert farm.json("show", str(number))["state"] == "awaiting-approval"
    people[1].approve(farm, number)
    farm("watch", str(number))
    return Published(farm, number, farm.json("show", str(number)))


def test_it_is_built_and_tested_on_both_native_architectures(published: Published) -> None:
    jobs = {(job["kind"], job["arch"]): (job["state"], job["tier"]) for job in published.facts["jobs"]}
    assert jobs["build", "amd64"] == jobs["build", "i386"] == ("succeeded", "native")
    assert {state for state, _ in jobs.values()} == {"succeeded"}


def test_what_was_built_is_bit_for_bit_what_debian_ships(published: Published) -> None:
    compared = published.farm.json("compare", str(published.number))
    with_reference = [each for each in compared if each["index"]]
    assert {each["file"]["name"].rpartition("_")[2] for each in with_reference} == {"amd64.deb", "i386.deb"}
    assert [each for each in with_reference if not each["identical"]] == []


def test_the_signed_files_are_whole_and_signed_by_the_release_key(published: Published, tmp_path: Path) -> None:
    published.farm("fetch", str(published.number), "--output", str(tmp_path / "got"))
    keyring = tmp_path / "release.gpg"
    armored = (published.farm.home / "target" / "release.asc").read_bytes()
    subprocess.run(["gpg", "--dearmor", "--output", str(keyring)], input=armored, check=True)
    (changes,) = (tmp_path / "got").glob("*_multi.changes")
    command = ["dscverify", "--no-default-keyrings", "--keyring", str(keyring), str(changes)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_apt_installs_it_from_the_farms_archive_in_a_container(published: Published, tmp_path: Path) -> None:
    certificate = published.farm.home / "target" / "archive.asc"
    listed = tmp_path / "farm.sources"
    address = published.farm.run("up").out.strip()
    listed.write_text(
        f"Types: deb\nURIs: {address}/repository\nSuites: {SUITE}\nComponents: main\nSigned-By: /etc/apt/farm.asc\n"
    )
    said = install("libcjson1", {"apt/sources.list.d/farm.sources": listed, "apt/farm.asc": certificate}, published)
    assert re.search(rf"^libcjson1\S*\t{re.escape(published.facts['source']['version'])}$", said, re.MULTILINE)
    assert f"{address}/repository" in said


def install(package: str, files: dict[str, Path], published: Published) -> str:
    """Install a package in a fresh container of the image that it was built in; answers what apt says of it then."""
    (build,) = (job for job in published.facts["jobs"] if (job["kind"], job["arch"]) == ("build", "amd64"))
    # Only a step's container has a way to the proxy that apt is told of in the image.
    direct = "rm /etc/apt/apt.conf.d/99patchfarm-proxy"
    commands = (direct, "apt-get update", f"apt-get --yes install {package}", f"dpkg-query --show {package}")
    client = docker.from_env()
    command = ["sh", "-ec", "; ".join([*commands, f"apt-cache policy {package}"])]
    # The farm listens on the loopback alone, which a container of its own network does not have.
    container = client.containers.create(build["report"]["image"], command, user="0:0", network_mode="host")
    try:
        container.put_archive("/etc", b"".join(tar.stream(list(files.items()))))
        container.start()
        code = container.wait(timeout=300)["StatusCode"]
        said = container.logs().decode()
    finally:
        container.remove(force=True)
        client.close()
    assert code == 0, said
    return said


def test_the_history_is_whole(published: Published) -> None:
    said = published.farm.run("history", str(published.number))
    assert said.code == 0
    assert "entries is whole" in said.err


def test_the_same_version_is_not_taken_again(published: Published) -> None:
    said = published.farm.run("submit", SOURCE, "--suite", SUITE, "--from-archive")
    assert said.code == 12
    assert "is not newer than" in said.err


def test_a_second_farm_on_the_machine_knows_nothing_of_the_first(
    published: Published, other_farm: Shell, tmp_path: Path
) -> None:
    assert SOURCE not in {update["source"]["name"] for update in other_farm.json("list")}
    sam = Person("sam")
    other_farm("submitter", "add", "sam", str(sam.write_cert(tmp_path)), "--replace")
    dsc = make_source(tmp_path / "source", "sample", "1.0-1+deb12u1", sam)[0]
    number = other_farm.json("submit", str(dsc), "--suite", SUITE)["id"]
    other_farm("watch", str(number), "--until", "awaiting-approval")
    assert [update["source"]["name"] for update in published.farm.json("list")] == [SOURCE]
