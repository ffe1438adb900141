# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer's folder: made on first use, and never made again."""

from pathlib import Path

import pytest

from coordinator import gpg
from coordinator.errors import PatchfarmError
from coordinator.openpgp import fingerprint, load_certs
from coordinator.signer.policy import Policy, SignerHome, certificates, load, prepare

KEY = "a" * 40


@pytest.mark.system
def test_first_use_makes_a_key_and_a_policy_of_two_approvals(home: SignerHome) -> None:
    policy = prepare(home)
    (cert,) = load_certs(home.certificate("archive"))
    assert policy == Policy(approvals=2, keys={"archive": fingerprint(cert)})
    assert [home.policy.stat().st_mode & 0o777, home.gnupg.stat().st_mode & 0o777] == [0o600, 0o700]


@pytest.mark.system
def test_the_second_use_changes_nothing(home: SignerHome) -> None:
    prepare(home)
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    prepare(home)
    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


@pytest.mark.system
def test_a_certificate_that_is_missing_or_anothers_is_written_anew(home: SignerHome, tmp_path: Path) -> None:
    prepare(home)
    right = home.certificate("archive").read_text()
    home.certificate("archive").unlink()
    assert certificates(home, prepare(home)) == right
    other = gpg.make_key(home.gnupg, "other")
    home.certificate("archive").write_bytes(gpg.export(home.gnupg, other))
    assert certificates(home, prepare(home)) == right


@pytest.mark.system
def test_a_policy_with_a_key_that_is_not_there_is_said_to_be_so(home: SignerHome) -> None:
    home.root.mkdir()
    home.gnupg.mkdir(mode=0o700)
    home.policy.write_text(f'approvals = 2\n[keys]\narchive = "{KEY}"\n')
    with pytest.raises(PatchfarmError, match=f"there is no key {KEY}"):
        prepare(home)


def test_a_policy_may_name_a_very_key(tmp_path: Path) -> None:
    home = SignerHome(tmp_path)
    home.policy.write_text(f'approvals = 3\n[keys]\narchive = "{KEY}!"\n')
    assert load(home) == Policy(approvals=3, keys={"archive": f"{KEY}!"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "approvals = 2\n",
        f'approvals = 0\n[keys]\narchive = "{KEY}"\n',
        f'approvals = true\n[keys]\narchive = "{KEY}"\n',
        f'approvals = 2\nmore = 1\n[keys]\narchive = "{KEY}"\n',
        'approvals = 2\n[keys]\narchive = "me@example.org"\n',
        f'approvals = 2\n[keys]\n"../archive" = "{KEY}"\n',
        "approvals = 2\n[keys]\n",
        "approvals =",
    ],
)
def test_a_policy_that_says_less_or_more_is_refused(tmp_path: Path, text: str) -> None:
    home = SignerHome(tmp_path)
    home.policy.write_text(text)
    with pytest.raises(PatchfarmError, match=r"policy\.toml") as caught:
        load(home)
    assert "Correct policy.toml" in caught.value.advice
