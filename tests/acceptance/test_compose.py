# SPDX-License-Identifier: GPL-3.0-or-later
"""docker-compose.yml is a farm: an update goes through it, and every service has what it may know and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from coordinator.cli.session import Session
from coordinator.cli.watch import follow
from coordinator.model import Update, UpdateState
from tests.acceptance.composed import Composed, composed, left
from tests.sources import Person, as_files, make_source
from workers.sandbox.docker import connect

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SERVICES = ("web", "engine", "signer", "sshd", "archive", "worker-amd64")
SECRETS: dict[str, set[str]] = {
    "redis": set(),
    "postgres": {"database/password"},
    "web": {"database/password"},
    "engine": {"database/password", "upload/key", "upload/key.pub", "upload/known_hosts"},
    "signer": {"signer/token"},
    "sshd": {"sshd/authorized_keys", "sshd/ssh_host_ed25519_key", "sshd/ssh_host_ed25519_key.pub", "sshd/sshd_config"},
    "archive": set(),
    "worker-amd64": {"worker-amd64/token"},
}
KEYS = {
    "signer": ["/var/lib/patchfarm-signer/gnupg/private-keys-v1.d"],
    "archive": ["/var/farm/target/gnupg/private-keys-v1.d"],
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The farm, with a worker for amd64."""
    engine = connect()
    with composed(tmp_path_factory.mktemp("compose"), engine, *SERVICES) as farm:
        yield farm
    assert left(engine) == []
    engine.close()


def test_an_update_goes_through_the_services_into_the_archive(services: Composed, tmp_path: Path) -> None:
    alice, bob, sam = (Person(name) for name in ("alice", "bob", "sam"))
    for kind, person in (("approver", alice), ("approver", bob), ("submitter", sam)):
        services.patchfarm(kind, "add", person.name, "/dev/stdin", stdin=str(person.cert))
    paths = make_source(tmp_path, "sample", "1.0-1+deb12u1", sam, tested=False)

    def approve(update: Update) -> None:
        if update.state == UpdateState.AWAITING_APPROVAL:
            for person in (alice, bob):
                farm.approve(update.id, person.clearsign(farm.digests(update.id)))

    with services.client() as farm:
        for file, path in zip(as_files(paths), paths, strict=True):
            farm.store(file, path)
        update = farm.submit("bookworm-security", as_files(paths))
        follow(Session(connect=lambda: farm), update.id, UpdateState.PUBLISHED, meanwhile=approve)
    index = requests.get(f"{services.url()}/repository/dists/bookworm-security/main/binary-amd64/Packages", timeout=10)
    assert "Package: sample\nVersion: 1.0-1+deb12u1\n" in index.text


@pytest.mark.parametrize("service", SECRETS)
def test_a_service_has_the_secrets_that_it_may_know(services: Composed, service: str) -> None:
    script = "cd /var/farm 2>/dev/null && find . -type f ! -path './approvers/*' ! -path './target/*'"
    found = services.inside(service, "sh", "-c", script).split()
    assert {path.removeprefix("./") for path in found} == SECRETS[service]


@pytest.mark.parametrize("service", SECRETS)
def test_signing_keys_are_where_they_are_used_and_nowhere_else(services: Composed, service: str) -> None:
    found = services.inside(service, "find", "/var", "/home", "/srv", "-name", "private-keys-v1.d")
    assert found.split() == KEYS.get(service, [])


@pytest.mark.parametrize(
    ("service", "other", "reached"),
    [
        ("signer", "web", True),
        ("worker-amd64", "redis", True),
        ("signer", "redis", False),
        ("signer", "postgres", False),
        ("worker-amd64", "postgres", False),
        ("worker-amd64", "signer", False),
        ("worker-amd64", "sshd", False),
        ("engine", "signer", False),
        ("sshd", "web", False),
        ("postgres", "redis", False),
    ],
)
def test_a_service_finds_those_it_has_to_do_with(services: Composed, service: str, other: str, reached: bool) -> None:
    # What the engine does not know itself it asks outside, where these networks do not lead.
    hurried = ("env", "RES_OPTIONS=timeout:2 attempts:1")
    assert bool(services.inside(service, *hurried, "getent", "hosts", other)) == reached


@pytest.mark.parametrize("service", SECRETS)
def test_a_service_cannot_become_more_than_it_is(services: Composed, service: str) -> None:
    host = services.container(service).attrs["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert bool(host["CapAdd"]) == (service == "worker-amd64")
    assert not host["Privileged"]
    published = [place["HostIp"] for places in (host["PortBindings"] or {}).values() for place in places]
    assert published == (["127.0.0.1"] if service == "web" else [])


def test_a_second_start_changes_no_secret(services: Composed) -> None:
    before = services.token()
    services("run", "--rm", "-T", "init")
    assert services.token() == before
