# SPDX-License-Identifier: GPL-3.0-or-later
"""What docker-compose.yml's services find when they start is made once, and each has a part of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import app, gpg
from coordinator.config import Settings, TargetSettings
from coordinator.model import Role, sha256_of
from coordinator.provision import Shelf, grant, main, make, role_of
from tests.sources import Person

NAMES = ["operator", "signer", "worker-amd64"]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """As the volumes are before anything is in them, but for what the signer said."""
    made = Shelf(tmp_path / "farm")
    for name in (*NAMES, "database", "upload", "release", "target", "sshd"):
        (made.root / name).mkdir(parents=True)
    made.release.write_text(str(Person("signer").cert))
    yield made
    if (made.target / "gnupg").exists():
        gpg.stop(made.target / "gnupg")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    target = TargetSettings(host="127.0.0.2", port=2222)
    return Settings(home=tmp_path / "home", targets={"archive": target})  # type: ignore[call-arg]  # as config.load


@pytest.mark.parametrize(
    ("name", "role"), [("operator", Role.PERSON), ("signer", Role.SIGNER), ("worker-s390x", Role.WORKER)]
)
def test_a_token_is_good_for_what_its_holder_does(name: str, role: Role) -> None:
    assert role_of(name) == role


@pytest.mark.system
def test_everybody_has_a_token_of_their_own_that_the_database_knows_only_by_its_digest(
    shelf: Shelf, settings: Settings
) -> None:
    make(shelf, settings, NAMES)
    grant(shelf, settings)
    tokens = {name: shelf.token(name).read_text().strip() for name in NAMES}
    assert len(set(tokens.values())) == len(NAMES)
    store = app.store(settings)
    assert [store.bearer(sha256_of(tokens[name])) for name in NAMES] == [(name, role_of(name)) for name in NAMES]
    store.close()
    assert not any(token.encode() in settings.paths.database.read_bytes() for token in tokens.values())


@pytest.mark.system
def test_making_it_a_second_time_changes_nothing(shelf: Shelf, settings: Settings) -> None:
    make(shelf, settings, NAMES)
    secret = {path: path.read_bytes() for path in shelf.root.rglob("*") if path.is_file() and "gnupg" not in path.parts}
    make(shelf, settings, NAMES)
    assert {path: path.read_bytes() for path in secret} == secret


@pytest.mark.system
def test_the_password_is_a_line_of_libpqs_and_the_door_is_where_it_is_reached(shelf: Shelf, settings: Settings) -> None:
    make(shelf, settings, NAMES)
    assert shelf.password.read_text().rpartition(":")[0] == "*:*:*:*"
    assert shelf.password.stat().st_mode & 0o777 == 0o600
    assert shelf.upload_key.with_name("known_hosts").read_text().startswith("[127.0.0.2]:2222 ssh-ed25519 ")
    assert (settings.paths.target / "archive.asc").read_bytes() == (shelf.target / "archive.asc").read_bytes()


def test_what_cannot_be_made_is_said_with_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHFARM_HOME", str(tmp_path / "file" / "home"))
    assert main([str(tmp_path / "farm")]) == 1
    assert "PATCHFARM_HOME" in capsys.readouterr().err
