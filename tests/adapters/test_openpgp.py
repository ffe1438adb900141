# SPDX-License-Identifier: GPL-3.0-or-later
"""A signature counts only if it is good, by somebody in the keyring, fit to sign now, and covers every byte."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysequoia
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.errors import BadRecipe, BadSignature
from coordinator.openpgp import SequoiaVerifier, fingerprint, load_certs, user_id
from tests.sources import Person

ALICE, MALLORY = Person("alice"), Person("mallory")
TEXT = "Source: sample\nDescription:\n - a dash\n"


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    return ALICE.write_cert(tmp_path)


def verify(data: bytes, *keyrings: Path, later: timedelta = timedelta()) -> str:
    signature = SequoiaVerifier(lambda: datetime.now(UTC) + later).clearsigned(data, keyrings)
    assert signature.signed == TEXT.encode()
    return signature.fingerprint


def test_what_is_signed_comes_back_with_the_primary_fingerprint(keyring: Path) -> None:
    assert verify(ALICE.clearsign(TEXT), keyring) == ALICE.fingerprint


def test_line_ends_of_another_system_change_nothing(keyring: Path) -> None:
    assert verify(ALICE.clearsign(TEXT).replace(b"\n", b"\r\n"), keyring) == ALICE.fingerprint


def test_a_keyring_may_be_a_folder_of_armored_and_binary_files(tmp_path: Path) -> None:
    MALLORY.write_cert(tmp_path)
    (tmp_path / "alice.pgp").write_bytes(bytes(ALICE.cert))
    assert verify(ALICE.clearsign(TEXT), tmp_path) == ALICE.fingerprint
    assert {fingerprint(cert) for cert in load_certs(tmp_path)} == {ALICE.fingerprint, MALLORY.fingerprint}


def test_several_keyrings_are_looked_in(tmp_path: Path, keyring: Path) -> None:
    assert verify(ALICE.clearsign(TEXT), MALLORY.write_cert(tmp_path), keyring) == ALICE.fingerprint


def test_a_certificate_tells_whose_it_is(keyring: Path) -> None:
    (cert,) = load_certs(keyring)
    assert user_id(cert) == "alice <alice@example.org>"


def around(signed: bytes) -> Iterator[tuple[str, bytes]]:
    armor = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
    yield "an unsigned paragraph before", b"Source: evil\n\n" + signed
    yield "an empty line before", b"\n" + signed
    yield "an unsigned paragraph after", signed + b"\nSource: evil\n"
    yield "a second message", signed + signed
    yield "an unsigned header", signed.replace(armor, armor + b"Source: evil\n")
    yield "an unsigned armor comment", signed.replace(armor, armor + b"Comment: evil\n")
    yield "text on the armor line", signed.replace(armor, armor[:-1] + b" Source: evil\n")


AROUND = dict(around(ALICE.clearsign(TEXT)))


@pytest.mark.parametrize("what", AROUND)
def test_a_byte_that_the_signature_does_not_cover_is_refused(what: str, keyring: Path) -> None:
    with pytest.raises(BadSignature):
        verify(AROUND[what], keyring)


def test_an_altered_text_is_refused(keyring: Path) -> None:
    with pytest.raises(
        BadSignature, match=r"no good signature by anybody in the keyring; it says it is by [0-9a-f]{40}"
    ):
        verify(ALICE.clearsign(TEXT).replace(b"sample", b"simple"), keyring)


@pytest.mark.parametrize("data", [b"", TEXT.encode(), b"\x00\xff" * 9], ids=["nothing", "unsigned", "rubbish"])
def test_what_is_not_signed_is_refused(data: bytes, keyring: Path) -> None:
    with pytest.raises(BadSignature, match="not one cleartext-signed message"):
        verify(data, keyring)


def test_a_strangers_signature_is_refused_without_a_stack_trace(keyring: Path) -> None:
    with pytest.raises(BadSignature) as refused:
        verify(MALLORY.clearsign(TEXT), keyring)
    assert "\n" not in refused.value.message
    assert "acktrace" not in refused.value.message


def test_a_message_in_another_form_is_refused_though_its_signature_is_good(keyring: Path) -> None:
    inline = pysequoia.sign(ALICE._key.signer(), TEXT.encode())
    with pytest.raises(BadSignature, match="not one cleartext-signed message"):
        verify(inline, keyring)


def test_a_revoked_certificate_signs_nothing_not_even_before(tmp_path: Path) -> None:
    (tmp_path / "alice.pgp").write_bytes(ALICE.revoked())
    with pytest.raises(BadSignature, match="no good signature"):
        verify(ALICE.clearsign(TEXT), tmp_path / "alice.pgp")


def test_an_expired_certificate_signs_nothing_not_even_before(tmp_path: Path) -> None:
    bob = Person("bob").expiring(86400)
    signed, keyring = bob.clearsign(TEXT), bob.write_cert(tmp_path)
    assert verify(signed, keyring) == bob.fingerprint
    with pytest.raises(BadSignature, match=r"the certificate of bob <bob@example.org> .* has expired on 20"):
        verify(signed, keyring, later=timedelta(days=2))


LONG_AGO = ["--faked-system-time", "20260101T000000!"]


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[list[str]]:
    """GnuPG with carol's certificate: its signing key is a subkey that holds for years, its primary for ever."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(home), "--quiet", "--no-tty", "--pinentry-mode=loopback", "--passphrase="]
    make = [*command, "--batch", *LONG_AGO]
    subprocess.run([*make, "--quick-gen-key", "carol <carol@example.org>", "ed25519", "cert", "0"], check=True)
    listed = subprocess.run([*make, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True)
    primary = next(line.split(":")[9] for line in listed.stdout.splitlines() if line.startswith("fpr:"))
    subprocess.run([*make, "--quick-add-key", primary, "ed25519", "sign", "9y"], check=True)
    yield command
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def export(gpg: list[str], folder: Path) -> Path:
    exported = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
    (folder / "carol.pgp").write_bytes(exported)
    return folder / "carol.pgp"


def sign(gpg: list[str]) -> bytes:
    command = [*gpg, "--batch", *LONG_AGO, "--clearsign"]
    return subprocess.run(command, input=TEXT.encode(), check=True, capture_output=True).stdout


@pytest.mark.system
def test_what_gnupg_signs_is_good_until_its_signing_key_expires(gpg: list[str], tmp_path: Path) -> None:
    signed, keyring = sign(gpg), export(gpg, tmp_path)
    (cert,) = load_certs(keyring)
    assert verify(signed, keyring) == fingerprint(cert)
    with pytest.raises(BadSignature, match=r"the signing key [0-9a-f]{40} of carol .* has expired on 20"):
        verify(signed, keyring, later=timedelta(days=9999))


@pytest.mark.system
def test_a_revoked_signing_key_signs_nothing_not_even_before(gpg: list[str], tmp_path: Path) -> None:
    signed = sign(gpg)
    edit = [*gpg, "--command-fd=0", "--edit-key", "carol"]
    subprocess.run(edit, input=b"key 1\nrevkey\ny\n3\n\ny\nsave\n", check=True, capture_output=True)
    with pytest.raises(BadSignature, match=r"the signing key [0-9a-f]{40} of carol .* is revoked"):
        verify(signed, export(gpg, tmp_path))


def test_a_keyring_that_is_none_is_the_farms_fault(tmp_path: Path) -> None:
    (tmp_path / "keys.asc").write_text("not a key")
    with pytest.raises(BadRecipe, match=r"keys\.asc is not a keyring"):
        verify(ALICE.clearsign(TEXT), tmp_path / "keys.asc")


def test_a_keyring_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"missing\.asc cannot be read: No such file"):
        verify(ALICE.clearsign(TEXT), tmp_path / "missing.asc")


SIGNED = ALICE.clearsign(TEXT)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(SIGNED)), cut=st.integers(0, 60), piece=st.binary(max_size=20))
def test_a_mutation_verifies_as_the_same_text_or_not_at_all(keyring: Path, at: int, cut: int, piece: bytes) -> None:
    with suppress(BadSignature):
        verify(SIGNED[:at] + piece + SIGNED[at + cut :], keyring)
