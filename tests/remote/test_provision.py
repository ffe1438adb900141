# SPDX-License-Identifier: GPL-3.0-or-later
"""From the first look at a host to its worker's first sign of life, on a host that only remembers."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from coordinator.errors import BadRequest, HostUnready
from coordinator.model import Clearance
from coordinator.remote.book import Keeper
from coordinator.remote.provision import provision
from coordinator.remote.ssh import Done
from coordinator.remote.tunnel import Way
from tests.remote.kit import FOLDER, GOOD, HOST, WORKER, wish, world
from workers.wire.arch import Arch


def test_a_host_becomes_a_worker_whose_token_the_farm_knows_by_its_digest() -> None:
    here = world()
    made = provision(wish(clearance=Clearance.PUBLIC, trust_domain="rack-1"), None, here.means())
    token, mode = here.remote.files[f"{FOLDER}/token"]
    digest = hashlib.sha256(token.strip()).hexdigest()
    assert (mode, here.farm.admitted) == (0o600, [("rack-1", Clearance.PUBLIC, digest)])
    assert here.remembered == [made]
    assert (made.keeper, made.folder, made.tunnel) == (Keeper.SYSTEM, FOLDER, False)


def test_who_does_not_say_what_a_worker_may_see_is_told_that_it_is_little() -> None:
    silent, said = world(), world()
    provision(wish(), None, silent.means())
    provision(wish(clearance=Clearance.EMBARGOED), None, said.means())
    assert [any("public sources alone" in note for note in here.notes) for here in (silent, said)] == [True, False]


def test_no_secret_is_in_an_argument_or_a_message() -> None:
    here = world()
    provision(wish(), None, here.means())
    token = here.remote.text(f"{FOLDER}/token").strip()
    said = repr((here.remote.ran, here.remote.asked, here.notes))
    assert token not in said
    assert "secret" not in said


def test_the_settings_are_for_the_accounts_eyes_alone() -> None:
    here = world()
    provision(wish(arches=(Arch.AMD64, Arch.ARM64), slots=4), None, here.means())
    settings, mode = here.remote.files[f"{FOLDER}/settings"]
    assert mode == 0o600
    for line in ("PATCHFARM_SLOTS=4", "PATCHFARM_ARCHES=amd64,arm64", "PATCHFARM_FARM=f1", f"{FOLDER}/token"):
        assert line in settings.decode()


def test_the_worker_is_complete_before_anything_that_runs_is_touched() -> None:
    here = world()
    provision(wish(), None, here.means())
    commands = [" ".join(argv) for argv in here.remote.ran]
    pip = next(place for place, said in enumerate(commands) if "--require-hashes" in said)
    restart = next(place for place, said in enumerate(commands) if "restart" in said)
    assert pip < restart < next(place for place, said in enumerate(commands) if said.startswith("find "))


def test_done_again_it_keeps_its_token_and_installs_nothing() -> None:
    here = world()
    made = provision(wish(), None, here.means())
    here.remote.facts["token"] = True
    before, here.remote.ran = here.remote.text(f"{FOLDER}/token"), []
    here.farm.known = [WORKER]
    provision(wish(), made, here.means())
    assert here.remote.text(f"{FOLDER}/token") == before
    assert here.farm.admitted[1:] == [(None, None, None)]
    assert not [argv for argv in here.remote.ran if argv[0] == "tar"]


@pytest.mark.parametrize(("known", "asked"), [([WORKER], True), ([], False)])
def test_it_gets_another_token_when_asked_or_when_the_farm_has_forgotten_it(known: list[Any], asked: bool) -> None:
    here = world(token=True)
    here.farm.known = known
    provision(wish(new_token=asked), HOST, here.means())
    assert here.farm.admitted[0][2] is not None
    assert f"{FOLDER}/token" in here.remote.files


def test_what_is_not_said_again_stays() -> None:
    here = world()
    here.farm.known = [WORKER]
    known = replace(HOST, folder="/srv/w2", identity="/home/me/key")
    here.remote.facts["folder"] = "/srv/w2"
    made = provision(wish(), known, here.means())
    assert (made.folder, made.identity) == ("/srv/w2", "/home/me/key")
    assert "PATCHFARM_SLOTS=3" in here.remote.text("/srv/w2/settings")
    assert here.remote.asked.startswith("/srv/w2 ")


PROGRAMS = set(GOOD["programs"])
LACKS: list[tuple[dict[str, Any], str, str]] = [
    ({"python": [3, 9, 2]}, "python: 3.9.2 is too old", "Debian 12"),
    ({"venv": False}, "without venv", "python3-venv"),
    ({"engine": "", "engine_error": "No such file or directory"}, "no container engine answers", "docker.io"),
    ({"engine": "", "engine_error": "[Errno 13] Permission denied"}, "may not use the container engine", "usermod"),
    ({"programs": PROGRAMS - {"mmdebstrap"}}, "without mmdebstrap", "install mmdebstrap"),
    ({"programs": PROGRAMS - {"arch-test", "setsid"}}, "without arch-test, setsid", "install arch-test util-linux"),
    ({"uid": 1000, "programs": PROGRAMS - {"newuidmap"}}, "without newuidmap", "install uidmap"),
    ({"uid": 1000}, "may not start without a login", "loginctl enable-linger"),
    ({"zones": False}, "time zones: not there", "install tzdata"),
    ({"machine": "sparc64"}, "sparc64 is none", "--arch"),
    ({"free_bytes": 3 << 30}, "disk: 3 GiB free", "10 GiB"),
    ({"engine_bytes": 2 << 30}, "disk: 2 GiB free", "10 GiB"),
    ({"time": 0.0}, "clock: differs from this one by", "NTP"),
    ({"farm_error": "timed out"}, "farm: timed out", "--url"),
    ({"broker_error": "Connection refused"}, "broker: Connection refused", "--broker"),
    ({"others": ["payroll"]}, "w2 has something else in it: payroll", "--folder"),
]


@pytest.mark.parametrize(("facts", "said", "advice"), LACKS)
def test_what_a_host_lacks_is_said_before_anything_is_done_to_it(facts: dict[str, Any], said: str, advice: str) -> None:
    here = world(**facts)
    with pytest.raises(HostUnready) as refused:
        provision(wish(), None, here.means())
    assert said in refused.value.message
    assert advice in refused.value.advice
    assert (here.remote.ran, here.remote.files, here.farm.admitted, here.remembered) == ([], {}, [], [])


def test_an_architecture_that_the_host_cannot_run_is_one_thing_it_lacks_of_several() -> None:
    here = world(zones=False)
    with pytest.raises(HostUnready, match=r"time zones: .* \(and 1 more\)"):
        provision(wish(arches=(Arch.S390X,)), None, here.means())
    assert any("cannot run s390x" in note for note in here.notes)


@pytest.mark.parametrize(
    "answer",
    [
        Done(127, "", "sh: 1: python3: not found"),
        Done(0, "", ""),
        Done(0, "This account is not available.", ""),
        Done(0, '{"python": [3, 11, 2]}', ""),
        Done(0, "[" * 100_000, ""),
    ],
)
def test_a_host_that_answers_something_else_is_left_alone(answer: Done) -> None:
    here = world()
    here.remote.fails["python3 -"] = answer
    with pytest.raises(HostUnready):
        provision(wish(), None, here.means())
    assert (here.remote.ran, here.remote.files) == ([], {})


@pytest.mark.parametrize(
    "facts",
    [
        {"folder": "/x:127.0.0.1:22"},
        {"folder": "relative"},
        {"folder": "/a b"},
        {"folder": f"/{'x' * 100}"},
        {"home": "/x\nExecStart=/bin/evil"},
    ],
)
def test_what_a_host_says_of_itself_goes_into_no_command_of_ours(facts: dict[str, Any]) -> None:
    here = world(**facts)
    with pytest.raises(HostUnready):
        provision(wish(way=Way()), None, here.means())
    assert (here.remote.ran, here.remembered, here.tunnels.opened) == ([], [], [])


def test_a_worker_behind_a_tunnel_finds_the_farm_on_its_own_host() -> None:
    here = world()
    made = provision(wish(way=Way()), None, here.means())
    assert here.tunnels.opened == [made]
    assert here.remote.asked.endswith(" - - -")
    settings = here.remote.text(f"{FOLDER}/settings")
    assert f"PATCHFARM_URL=unix://{FOLDER}/farm.sock" in settings
    assert f"redis+socket://{FOLDER}/broker.sock?virtual_host=0" in settings


def test_a_tunnel_that_would_ask_somebody_is_not_begun() -> None:
    here = world()
    here.tunnels.locked = True
    with pytest.raises(HostUnready):
        provision(wish(way=Way()), None, here.means())
    assert (here.remote.ran, here.remote.files) == ([], {})


def test_a_worker_that_gives_no_sign_of_life_is_quoted() -> None:
    here = world()
    here.farm.deaf = True
    here.remote.fails["journalctl"] = Done(0, "starting\nPATCHFARM_URL is not set\n", "")
    with pytest.raises(HostUnready, match=r"PATCHFARM_URL is not set.*forwarding failed"):
        provision(wish(way=Way()), None, here.means())
    assert len(here.slept) == 90


def test_packages_that_cannot_be_had_are_said_and_nothing_is_started() -> None:
    here = world()
    here.remote.fails[f"{FOLDER}/release-"] = Done(1, "", "ERROR: No matching distribution found for celery\n")
    with pytest.raises(HostUnready, match="No matching distribution"):
        provision(wish(), None, here.means())
    assert not here.remote.started


def test_a_name_belongs_to_one_host() -> None:
    here = world()
    here.farm.known = [WORKER]
    elsewhere = replace(HOST, address=replace(HOST.address, host="other.example.org"))
    for known in (None, elsewhere):
        with pytest.raises(BadRequest, match="there is a worker w2 already"):
            provision(wish(), known, here.means())
    assert here.remote.ran == []


def test_a_worker_does_not_move_to_another_folder_by_itself() -> None:
    with pytest.raises(BadRequest, match=FOLDER):
        provision(wish(folder="/srv/w2"), HOST, world().means())


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "W2"},
        {"name": ""},
        {"name": "../w2"},
        {"trust_domain": "rack 1"},
        {"folder": "srv"},
        {"folder": "/a b"},
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_anybody_is_asked(changed: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        wish(**changed).check()


def test_the_worker_gets_the_keyrings_of_the_archives_where_it_looks_for_them() -> None:
    here = world()
    provision(wish(), None, here.means())
    assert here.remote.files[f"{FOLDER}/home/keyrings/mine.pgp"] == (b"certificates", 0o644)
