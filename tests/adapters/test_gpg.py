# SPDX-License-Identifier: GPL-3.0-or-later
"""gpg itself, with homes made on the spot."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import gpg
from coordinator.errors import NotAllowed, PatchfarmError
from coordinator.openpgp import SequoiaVerifier, fingerprint, load_certs

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
TEXT = "patchfarm approval 1\n- a line with a dash\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "gnupg"
    gpg.stop(tmp_path / "gnupg")


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A home whose path has no room for a socket's name behind it."""
    path = tmp_path / ("x" * 60) / ("y" * 60) / "gnupg"
    yield path
    gpg.stop(path)


def certificate(home: Path, key: str) -> Path:
    path = home.parent / "cert.asc"
    path.write_bytes(gpg.export(home, key))
    return path


def test_a_text_is_signed_as_it_is(home: Path) -> None:
    key = gpg.make_key(home, "alice")
    signature = SequoiaVerifier().clearsigned(gpg.clearsign(TEXT, key, home), [certificate(home, key)])
    assert (signature.signed.decode(), signature.fingerprint) == (TEXT, key)


def test_without_a_name_it_is_gpgs_default_key(home: Path) -> None:
    key = gpg.make_key(home, "alice")
    signature = SequoiaVerifier().clearsigned(gpg.clearsign(TEXT, None, home), [certificate(home, key)])
    assert signature.fingerprint == key


def test_the_signature_is_over_sha512(home: Path) -> None:
    assert b"\nHash: SHA512\n" in gpg.clearsign(TEXT, gpg.make_key(home, "alice"), home)


def test_a_made_key_never_expires_and_only_its_owner_reads_it(home: Path) -> None:
    key = gpg.make_key(home, "alice")
    (cert,) = load_certs(certificate(home, key))
    assert (fingerprint(cert), cert.expiration, home.stat().st_mode & 0o777) == (key, None, 0o700)


def test_a_home_may_have_a_long_path(far: Path) -> None:
    key = gpg.make_key(far, "alice")
    signature = SequoiaVerifier().clearsigned(gpg.clearsign(TEXT, key, far), [certificate(far, key)])
    assert signature.fingerprint == key


def test_a_key_that_is_not_there_is_said_in_gpgs_words(home: Path) -> None:
    gpg.make_key(home, "alice")
    with pytest.raises(NotAllowed, match=r"^gpg failed: .*No secret key$") as caught:
        gpg.clearsign(TEXT, "bob", home)
    assert "--key" in caught.value.advice


def test_a_name_that_begins_like_an_option_is_a_name(home: Path) -> None:
    gpg.make_key(home, "alice")
    with pytest.raises(NotAllowed, match="No secret key"):
        gpg.clearsign(TEXT, "--output=/tmp/x", home)


def test_a_certificate_that_is_not_there_is_not_an_empty_one(home: Path) -> None:
    gpg.make_key(home, "alice")
    with pytest.raises(PatchfarmError, match="there is no key"):
        gpg.export(home, "0" * 40)


def test_without_gpg_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PatchfarmError, match="gpg is not installed") as caught:
        gpg.clearsign(TEXT, None, None)
    assert "apt-get install gnupg" in caught.value.advice


PINENTRY = """#!/bin/sh
echo OK
while read -r line; do
    echo "$line" >> "$0.heard"
    case "$line" in GETPIN*) echo "D secret";; esac
    echo OK
    [ "$line" = BYE ] && exit
done
"""


@pytest.fixture
def heard(home: Path, tmp_path: Path) -> Path:
    """What pinentry was told; the home has a key with a passphrase, which its agent does not know yet."""
    pinentry = tmp_path / "pinentry"
    pinentry.write_text(PINENTRY)
    pinentry.chmod(0o700)
    home.mkdir(mode=0o700)
    (home / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
    make = ["gpg", "--batch", "--homedir", str(home), "--pinentry-mode=loopback", "--passphrase-fd=0"]
    subprocess.run([*make, "--quick-generate-key", "alice", "ed25519"], input=b"secret", check=True)
    gpg.stop(home)
    return tmp_path / "pinentry.heard"


def test_a_passphrase_is_asked_for_by_pinentry(home: Path, heard: Path) -> None:
    assert gpg.clearsign(TEXT, "alice", home)
    assert "GETPIN" in heard.read_text()


def test_a_service_waits_only_so_long_for_a_key_that_needs_somebody(home: Path, heard: Path) -> None:
    heard.with_name("pinentry").write_text("#!/bin/sh\necho OK\nwhile read -r line; do :; done\n")
    with pytest.raises(PatchfarmError, match="did not end within") as caught:
        gpg.clearsign(TEXT, "alice", home, seconds=1)
    assert "passphrase" in caught.value.advice


def test_pinentry_is_told_the_persons_terminal(home: Path, heard: Path) -> None:
    ours, theirs = os.openpty()
    code = f"from pathlib import Path; from coordinator import gpg; gpg.clearsign('x', None, Path({str(home)!r}))"
    environment = {name: value for name, value in os.environ.items() if name != "GPG_TTY"}
    subprocess.run([sys.executable, "-c", code], stdin=theirs, env=environment, cwd=ROOT, check=True)
    assert f"OPTION ttyname={os.ttyname(theirs)}\n" in heard.read_text()
    os.close(ours)
    os.close(theirs)


def test_the_agent_of_a_home_can_be_ended(home: Path) -> None:
    gpg.make_key(home, "alice")
    gpg.stop(home)
    ask = ["gpg-connect-agent", "--homedir", str(home), "--no-autostart", "GETINFO pid", "/bye"]
    assert b"no gpg-agent running" in subprocess.run(ask, capture_output=True).stderr
