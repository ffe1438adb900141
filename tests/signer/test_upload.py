# SPDX-License-Identifier: GPL-3.0-or-later
"""A signed upload, made with gpg and looked at by the programs that an archive uses."""

import subprocess
from pathlib import Path

import pytest

from coordinator.dsc import cleartext, read_buildinfo, read_changes
from coordinator.errors import BadSignature, BadSource, PatchfarmError, SignerRefused
from coordinator.model import File
from coordinator.openpgp import SequoiaVerifier
from coordinator.signer.evidence import shipped
from coordinator.signer.policy import Policy, SignerHome
from coordinator.signer.upload import Seal, make, verify
from tests.signer.kit import BOB, Made, files
from tests.signer.kit import make as make_update

pytestmark = pytest.mark.system

CHANGES = "hello_1.0-1_multi.changes"


@pytest.fixture
def seal(home: SignerHome, rules: Policy) -> Seal:
    return Seal(rules.keys["archive"], home.gnupg, home.certificate("archive"), SequoiaVerifier())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def signed(made: Made, folder: Path, seal: Seal) -> tuple[File, ...]:
    return make(made.update, folder, made.lay_out(folder), seal)


def keyring(folder: Path, certificate: Path) -> Path:
    """A keyring as gpgv reads it."""
    path = folder.parent / "ring.gpg"
    subprocess.run(["gpg", "--batch", "--dearmor", "--output", str(path), str(certificate)], check=True)
    return path


def test_the_changes_comes_first_and_then_all_that_it_names(made: Made, folder: Path, seal: Seal) -> None:
    answer = signed(made, folder, seal)
    assert answer == files([folder / CHANGES, *(folder / file.name for file in shipped(made.update))])


def test_packages_and_tarballs_stay_as_they_are(made: Made, folder: Path, seal: Seal) -> None:
    changed = {file.name for file in set(signed(made, folder, seal)) - set(shipped(made.update))}
    info = {f"hello_1.0-1_{arch}.buildinfo" for arch in ("amd64", "i386")}
    assert changed == {CHANGES, "hello_1.0-1.dsc", *info}


def test_gpgv_finds_the_signers_signature_and_no_other(made: Made, folder: Path, seal: Seal) -> None:
    ring = keyring(folder, seal.certificate)
    for file in signed(made, folder, seal):
        if file.name.endswith((".dsc", ".buildinfo", ".changes")):
            command = ["gpgv", "--status-fd=1", "--keyring", str(ring), str(folder / file.name)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert said.count("VALIDSIG") == 1
            assert seal.key.upper() in said


def test_dscverify_agrees(made: Made, folder: Path, seal: Seal) -> None:
    signed(made, folder, seal)
    ring = keyring(folder, seal.certificate)
    command = ["dscverify", "--no-sig-check", "--no-default-keyrings", "--keyring", str(ring), str(folder / CHANGES)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    command.remove("--no-sig-check")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dsc_says_what_it_said(made: Made, folder: Path, seal: Seal) -> None:
    signed(made, folder, seal)
    assert cleartext((folder / "hello_1.0-1.dsc").read_bytes()) == cleartext(made.text(".dsc"))


def naming_the_dsc(text: str) -> str:
    """A .buildinfo as a build of source and packages makes it."""
    marks = {"Checksums-Md5": "0" * 32, "Checksums-Sha1": "0" * 40}
    for section, digest in marks.items():
        text = text.replace(f"{section}:\n", f"{section}:\n {digest} DSC-SIZE hello_1.0-1.dsc\n")
    return text.replace("Checksums-Sha256:\n", "Checksums-Sha256:\n DSC-SHA256 DSC-SIZE hello_1.0-1.dsc\n")


def test_a_buildinfo_that_names_the_dsc_names_the_signed_one(tmp_path: Path, folder: Path, seal: Seal) -> None:
    def edit(text: str) -> str:
        found = files([tmp_path / "farm" / "hello_1.0-1.dsc"])[0]
        return naming_the_dsc(text).replace("DSC-SHA256", found.sha256).replace("DSC-SIZE", str(found.size))

    made = make_update(tmp_path / "farm", {"_amd64.buildinfo": edit})
    dsc = signed(made, folder, seal)[1]
    control = read_buildinfo(cleartext((folder / "hello_1.0-1_amd64.buildinfo").read_bytes()))
    assert dsc in control.files
    assert dsc != made.update.source.dsc


def test_bytes_that_were_changed_on_the_disk_are_refused(made: Made, folder: Path, seal: Seal) -> None:
    built = made.lay_out(folder)
    (folder / "hello_1.0-1_i386.deb").write_bytes(b"another package")
    with pytest.raises(SignerRefused, match=r"does not name exactly|hello_1\.0-1_i386\.deb is not what was approved"):
        make(made.update, folder, built, seal)


def test_a_dsc_of_another_source_is_refused(made: Made, folder: Path, seal: Seal) -> None:
    built = made.lay_out(folder)
    path = folder / "hello_1.0-1.dsc"
    path.write_bytes(BOB.clearsign(cleartext(path.read_bytes()).decode().replace("Version: 1:1", "Version: 2:1")))
    with pytest.raises(SignerRefused, match=r"is not the \.dsc of hello 1:1\.0-1 and its files"):
        make(made.update, folder, built, seal)


def test_a_control_file_too_long_to_read_is_refused(made: Made, folder: Path, seal: Seal) -> None:
    built = made.lay_out(folder)
    (folder / "hello_1.0-1_amd64.buildinfo").write_bytes(b"x" * (2 << 20))
    with pytest.raises(SignerRefused, match="is the most that is read"):
        make(made.update, folder, built, seal)


def test_nothing_built_is_nothing_to_sign(made: Made, folder: Path, seal: Seal) -> None:
    made.lay_out(folder)
    with pytest.raises(SignerRefused, match="do not name exactly"):
        make(made.update, folder, [], seal)


def test_what_another_key_signed_is_not_the_signers(made: Made, folder: Path, seal: Seal, tmp_path: Path) -> None:
    other = Seal(seal.key, seal.home, BOB.write_cert(tmp_path), seal.verifier)
    with pytest.raises(BadSignature):
        signed(made, folder, other)


@pytest.mark.parametrize("name", ["hello_1.0-1_amd64.deb", "hello_1.0-1.dsc", CHANGES])
def test_a_last_look_sees_what_changed_since(made: Made, folder: Path, seal: Seal, name: str) -> None:
    answer = signed(made, folder, seal)
    (folder / name).write_bytes((folder / name).read_bytes().replace(b"e", b"o", 1))
    with pytest.raises(PatchfarmError):
        verify(made.update, folder, answer, seal)


def test_the_dsc_of_an_archive_need_not_be_signed(tmp_path: Path, folder: Path, seal: Seal) -> None:
    made = make_update(tmp_path / "farm", bare=True)
    signed(made, folder, seal)
    assert cleartext((folder / "hello_1.0-1.dsc").read_bytes()) == made.text(".dsc")


def test_a_distribution_that_is_none_is_refused(tmp_path: Path, folder: Path, seal: Seal) -> None:
    made = make_update(tmp_path / "farm", suite="$(reboot)")
    with pytest.raises(BadSource, match="Distribution"):
        signed(made, folder, seal)


def build(tree: Path, arch: str) -> None:
    """What the recipe's step runs, for a package that has nothing to compile."""
    run = ["dpkg-buildpackage", "--build=any", "--no-sign", "-d", f"--host-arch={arch}"]
    also = ["dpkg-genchanges", "--build=source", "-sa", f"-O../hello_1.0-1_source_{arch}.changes"]
    for command in (run, also):
        subprocess.run(command, cwd=tree, check=True, capture_output=True)


def test_what_dpkg_itself_built_is_signed(tmp_path: Path, made: Made, folder: Path, seal: Seal) -> None:
    source = tmp_path / "farm"
    subprocess.run(["dpkg-source", "--no-check", "-x", "hello_1.0-1.dsc", "tree"], cwd=source, check=True)
    for arch in ("amd64", "i386"):
        build(source / "tree", arch)
    real = made.built_by_dpkg(source)
    answer = signed(real, folder, seal)
    control = read_changes(cleartext((folder / CHANGES).read_bytes()))
    assert control.architectures == ("amd64", "i386", "source")
    assert set(control.files) == set(answer[1:])
