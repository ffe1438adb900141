# SPDX-License-Identifier: GPL-3.0-or-later
"""What each process of an embedded farm is told, and that supervisord understands it as it was meant."""

from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from coordinator.config import Home
from coordinator.embedded.services import Program, Site, configuration, given, programs
from coordinator.errors import BadRequest
from workers.wire.arch import Arch

SITE = Site(
    home=Home(Path("/srv/farm")),
    farm="f123456",
    url="http://127.0.0.1:8000",
    sockets=Path("/srv/farm/run"),
    python="/usr/bin/python3",
    redis_server=Path("/usr/bin/redis-server"),
    own_redis=True,
    broker="redis+socket:///srv/farm/run/redis.sock?virtual_host=0",
    worker="here",
    arches=(Arch.AMD64, Arch.ARM64),
    slots=2,
    settings={"PATCHFARM_DATABASE": "postgresql://farm:secret@db.example/farm"},
    target=(Program("target", ("daemon",), 40),),
)


def known_to(name: str) -> str:
    return repr(next(program for program in programs(SITE) if program.name == name))


def understood(tmp_path: Path, *listed: Program) -> dict[str, dict[str, str]]:
    """The environments of the programs, by name, as supervisord reads the file."""
    home = Home(tmp_path)
    for folder in (home.run, home.log):
        folder.mkdir(exist_ok=True)
    file = tmp_path / "supervisord.conf"
    file.write_text(configuration(listed, home, home.run, tmp_path, "root"))
    options = ServerOptions()
    options.realize(["--configuration", str(file), "--nodaemon"])
    return {
        group.process_configs[0].name: group.process_configs[0].environment for group in options.process_group_configs
    }


def test_the_broker_starts_first_and_stops_last() -> None:
    ranked = sorted(programs(SITE), key=lambda program: program.priority)
    assert [program.name for program in ranked] == ["redis", "web", "engine", "target", "signer", "worker"]


def test_a_broker_named_in_the_settings_is_not_started_here() -> None:
    site = Site(**{**SITE.__dict__, "own_redis": False})
    assert "redis" not in {program.name for program in programs(site)}


@pytest.mark.parametrize("name", ["worker", "signer", "redis"])
def test_only_the_coordinator_knows_the_database(name: str) -> None:
    assert "postgresql" not in known_to(name)
    assert "postgresql" in known_to("engine")


def test_the_worker_is_told_what_it_may_take_of_the_machine_and_no_other_setting() -> None:
    site = Site(**{**SITE.__dict__, "settings": {**SITE.settings, "PATCHFARM_CACHE_MIB": "500"}})
    worker = next(program for program in programs(site) if program.name == "worker")
    assert worker.environment["PATCHFARM_CACHE_MIB"] == "500"
    assert "PATCHFARM_DATABASE" not in worker.environment


def test_the_coordinator_is_told_the_settings_and_where_the_databases_password_is() -> None:
    settings = {"PATCHFARM_DATABASE": "postgresql://farm@db.example/farm", "PGPASSFILE": "/srv/password"}
    others = {"PGPASSWORD": "secret", "HOME": "/root", "PATCHFARM_TOKEN_FILE": "/srv/token"}
    assert given({**settings, **others}) == settings


def test_the_signer_does_not_know_the_broker_and_nobody_else_the_signers_folder() -> None:
    assert "redis" not in known_to("signer")
    for name in ("redis", "web", "engine", "worker"):
        assert "/srv/farm/signer" not in known_to(name)


@pytest.mark.parametrize("value", ["100%", 'say "so".', "it's", '{"archive": {"port": 1}}', "a;b", "a,b=c", "", "späť"])
def test_supervisord_hands_a_setting_on_as_it_was_given(tmp_path: Path, value: str) -> None:
    told = understood(tmp_path, Program("web", ("true",), 1, {"PATCHFARM_X": value, "PATCHFARM_Y": "end"}))
    assert told == {"web": {"PATCHFARM_X": value, "PATCHFARM_Y": "end"}}


@pytest.mark.parametrize("value", ["a ;b", "a #b", "a\nb", "'\".", 'say "so"'])
def test_a_setting_that_supervisord_would_misread_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadRequest):
        understood(tmp_path, Program("web", ("true",), 1, {"PATCHFARM_X": value}))


def test_a_home_whose_path_supervisord_would_misread_is_refused(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    with pytest.raises(BadRequest, match="supervisord"):
        understood(tmp_path / "100%")
