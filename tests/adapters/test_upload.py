# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads: in order, each file whole or not there under its name, going on where a cut stopped. Folder and OpenSSH."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from coordinator.config import TargetSettings
from coordinator.errors import UploadFailed
from coordinator.model import File, sha256_of
from coordinator.ports import Uploader
from coordinator.upload.local import FolderUploader
from coordinator.upload.sftp import SftpUploader
from tests.limits import no_file_larger_than
from tests.sshd import Sshd, free_port, make_key, proxy, public, running

MIB = 2**20
DATA = Random(1).randbytes(3 * MIB + 7)  # noqa: S311  # nothing secret, and the same in every run
PART = f".{sha256_of(DATA)[:32]}.part"
NAME = "libmodbus_3.1.6.orig.tar.gz"


@dataclass(frozen=True)
class Place:
    """An uploader, and the folder where its files arrive."""

    uploader: Uploader
    incoming: Path

    def send(self, *files: tuple[File, Path]) -> list[str]:
        return list(self.uploader.upload(files))

    def names(self) -> list[str]:
        return names(self.incoming)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture
def target(server: Sshd, tmp_path: Path) -> TargetSettings:
    """The server with a queue of the test's own."""
    (tmp_path / "incoming").mkdir()
    return server.target().model_copy(update={"incoming": str(tmp_path / "incoming")})


@pytest.fixture(params=["folder", pytest.param("sftp", marks=pytest.mark.system)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sftp":
        return Place(SftpUploader(request.getfixturevalue("target")), tmp_path / "incoming")
    (tmp_path / "incoming").mkdir()
    return Place(FolderUploader(tmp_path / "incoming"), tmp_path / "incoming")


@pytest.fixture
def tarball(tmp_path: Path) -> tuple[File, Path]:
    return made(tmp_path, NAME, DATA)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(folder: Path, name: str, data: bytes) -> tuple[File, Path]:
    path = folder / sha256_of(data)
    path.write_bytes(data)
    return File(name, sha256_of(data), len(data)), path


def test_files_arrive_whole_and_in_the_order_given(place: Place, tmp_path: Path) -> None:
    contents = {"z.deb": DATA, "empty.dsc": b"", "a.buildinfo": b"info", "z.changes": b"changes"}
    sent: list[str] = []
    for name in place.uploader.upload([made(tmp_path, name, data) for name, data in contents.items()]):
        sent.append(name)
        assert place.names() == sorted(sent)
        assert (place.incoming / name).read_bytes() == contents[name]
    assert sent == list(contents)


def test_a_name_appears_only_when_the_file_is_whole(place: Place, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(place.send, (File(NAME, sha256_of(DATA), len(DATA)), tmp_path / "slow"))
        with (tmp_path / "slow").open("wb") as source:
            source.write(DATA[: 2 * MIB])
            assert place.names() == [PART]
            source.write(DATA[2 * MIB :])
        assert sending.result() == [NAME]
    assert place.names() == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA


def test_what_arrived_before_is_not_sent_again(place: Place, tmp_path: Path) -> None:
    (place.incoming / PART).write_bytes(DATA[:MIB])
    (tmp_path / "unread").write_bytes(b"\0" * 1000 + DATA[1000:])
    assert place.send((File(NAME, sha256_of(DATA), len(DATA)), tmp_path / "unread")) == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA


def test_a_part_that_is_whole_only_gets_its_name(place: Place, tarball: tuple[File, Path]) -> None:
    (place.incoming / PART).write_bytes(DATA)
    assert place.send(tarball) == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA
    assert place.names() == [NAME]


@pytest.mark.parametrize("odd", [DATA + b"more", b"\0" * MIB, DATA[:MIB] + b"\0" * 10, b""])
def test_an_odd_part_is_begun_anew(place: Place, tarball: tuple[File, Path], odd: bytes) -> None:
    (place.incoming / PART).write_bytes(odd)
    assert place.send(tarball) == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA
    assert place.names() == [NAME]


@pytest.mark.parametrize("other", [b"short", bytes(len(DATA)), DATA + b"more"])
def test_the_same_name_with_other_bytes_is_replaced(place: Place, tarball: tuple[File, Path], other: bytes) -> None:
    (place.incoming / NAME).write_bytes(other)
    assert place.send(tarball) == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA
    assert place.names() == [NAME]


def test_the_same_name_with_the_same_bytes_counts_as_sent(place: Place, tarball: tuple[File, Path]) -> None:
    assert place.send(tarball) == [NAME]
    before = (place.incoming / NAME).stat()
    assert place.send(tarball) == [NAME]
    after = (place.incoming / NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_the_queue_took_away_is_sent_again(place: Place, tarball: tuple[File, Path]) -> None:
    for _name in place.uploader.upload([tarball]):
        (place.incoming / NAME).unlink()
    assert place.send(tarball) == [NAME]
    assert (place.incoming / NAME).read_bytes() == DATA


def test_a_file_that_ends_early_is_told_and_does_not_get_its_name(place: Place, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(DATA[:-1])
    with pytest.raises(UploadFailed, match=f"of the {len(DATA)} bytes of {NAME} the target has {len(DATA) - 1}"):
        place.send((File(NAME, sha256_of(DATA), len(DATA)), tmp_path / "short"))
    assert place.names() == []


def test_a_missing_incoming_folder_is_told(place: Place, tarball: tuple[File, Path]) -> None:
    place.incoming.rmdir()
    with pytest.raises(UploadFailed, match=f"has no folder {place.incoming}") as told:
        place.send(tarball)
    assert "`incoming` in farm.toml" in told.value.advice


def test_a_name_that_cannot_be_replaced_is_told(place: Place, tarball: tuple[File, Path]) -> None:
    (place.incoming / NAME / "inside").mkdir(parents=True)
    with pytest.raises(UploadFailed, match=f"did not take {NAME}: "):
        place.send(tarball)


def test_a_folder_that_takes_no_more_is_told_and_nothing_is_left(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    (tmp_path / "incoming").mkdir()
    place = Place(FolderUploader(tmp_path / "incoming"), tmp_path / "incoming")
    with no_file_larger_than(MIB), pytest.raises(UploadFailed, match=f"did not take {NAME}: File too large") as told:
        place.send(tarball)
    assert "free space" in told.value.advice
    assert place.names() == []


@pytest.mark.system
def test_a_server_that_takes_no_more_is_told_and_nothing_is_left(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with no_file_larger_than(MIB), running(tmp_path / "sshd") as sshd:
        place = Place(SftpUploader(sshd.target()), sshd.incoming)
        with pytest.raises(UploadFailed, match=f"did not take {NAME}: Failure") as told:
            place.send(tarball)
    assert "free space" in told.value.advice
    assert place.names() == []


@pytest.mark.system
def test_a_refusal_of_the_last_bytes_is_not_missed(tmp_path: Path) -> None:
    tarball = made(tmp_path, NAME, DATA[: MIB + 1])
    with no_file_larger_than(MIB), running(tmp_path / "sshd") as sshd:
        place = Place(SftpUploader(sshd.target()), sshd.incoming)
        with pytest.raises(UploadFailed, match=f"did not take {NAME}: Failure"):
            place.send(tarball)
    assert place.names() == []


@pytest.mark.system
def test_after_a_cut_only_the_rest_is_sent(server: Sshd, target: TargetSettings, tmp_path: Path) -> None:
    data = DATA * 4
    tarball = made(tmp_path, NAME, data)
    with proxy(server.port, limit=8 * MIB) as cut:
        told = refused(through(server, target, cut.port), tarball)
    assert told.message == f"the connection to 127.0.0.1:{cut.port} broke during {NAME}"
    assert "goes on where it stopped" in told.advice
    assert names(tmp_path / "incoming") == [f".{sha256_of(data)[:32]}.part"]
    with proxy(server.port) as whole:
        assert list(SftpUploader(through(server, target, whole.port)).upload([tarball])) == [NAME]
    assert whole.sent < len(data) - 2 * MIB
    assert (tmp_path / "incoming" / NAME).read_bytes() == data


def through(server: Sshd, target: TargetSettings, port: int) -> TargetSettings:
    return target.model_copy(update={"port": port, "known_hosts": server.known_hosts(port)})


@pytest.mark.system
def test_a_server_that_may_not_be_read_gets_everything_anew(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with running(tmp_path / "sshd", sftp="internal-sftp -P read") as sshd:
        (sshd.incoming / PART).write_bytes(DATA[:MIB])
        (sshd.incoming / NAME).write_bytes(bytes(len(DATA)))
        assert list(SftpUploader(sshd.target()).upload([tarball])) == [NAME]
        assert (sshd.incoming / NAME).read_bytes() == DATA


@pytest.mark.system
def test_a_server_without_the_extension_to_rename_replaces_too(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with running(tmp_path / "sshd", sftp="internal-sftp -P posix-rename") as sshd:
        (sshd.incoming / NAME).write_bytes(b"older")
        assert list(SftpUploader(sshd.target()).upload([tarball, tarball])) == [NAME, NAME]
        assert names(sshd.incoming) == [NAME]
        assert (sshd.incoming / NAME).read_bytes() == DATA


@pytest.mark.system
def test_a_server_that_is_read_only_is_told(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with running(tmp_path / "sshd", sftp="internal-sftp -R") as sshd:
        told = refused(sshd.target(), tarball)
    assert told.message == f"127.0.0.1:{sshd.port} does not allow to write {NAME}"
    assert "write, rename and remove" in told.advice


def refused(target: TargetSettings, tarball: tuple[File, Path], patience: float = 20) -> UploadFailed:
    with pytest.raises(UploadFailed) as told:
        list(SftpUploader(target, patience).upload([tarball]))
    return told.value


@pytest.mark.system
def test_a_host_key_that_differs_is_refused(target: TargetSettings, tmp_path: Path, tarball: tuple[File, Path]) -> None:
    other = public(make_key(tmp_path / "other"))
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{target.port} {other}\n")
    told = refused(target.model_copy(update={"known_hosts": tmp_path / "known_hosts"}), tarball)
    assert "shows the host key SHA256:" in told.message
    assert "another one is pinned" in told.message
    assert "Somebody may stand between" in told.advice
    assert names(tmp_path / "incoming") == []


@pytest.mark.system
def test_a_host_that_is_not_pinned_is_refused(
    target: TargetSettings, tmp_path: Path, tarball: tuple[File, Path]
) -> None:
    (tmp_path / "known_hosts").touch()
    told = refused(target.model_copy(update={"known_hosts": tmp_path / "known_hosts"}), tarball)
    assert told.message.startswith(f"no host key is pinned for [127.0.0.1]:{target.port}, which shows SHA256:")
    assert f"add the key to {tmp_path / 'known_hosts'}" in told.advice


@pytest.mark.system
def test_a_client_key_that_is_not_let_in_is_told(
    target: TargetSettings, tmp_path: Path, tarball: tuple[File, Path]
) -> None:
    told = refused(target.model_copy(update={"identity": make_key(tmp_path / "other")}), tarball)
    assert told.message == f"127.0.0.1:{target.port} does not let the farm in with the key {tmp_path / 'other'}"
    assert "authorized_keys" in told.advice


@pytest.mark.system
def test_a_key_with_a_passphrase_is_told_and_the_passphrase_is_not(
    target: TargetSettings, tmp_path: Path, tarball: tuple[File, Path]
) -> None:
    told = refused(target.model_copy(update={"identity": make_key(tmp_path / "locked", "open sesame")}), tarball)
    assert told.message == f"the upload key {tmp_path / 'locked'} cannot be used"
    assert "without a passphrase" in told.advice


@pytest.mark.system
def test_a_server_that_knows_sha1_alone_is_told(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with running(tmp_path / "sshd", "KexAlgorithms diffie-hellman-group14-sha1") as sshd:
        told = refused(sshd.target(), tarball)
    assert "it may offer nothing newer than SHA-1" in told.message
    assert "brought up to date" in told.advice


@pytest.mark.system
def test_a_server_without_sftp_is_told(tmp_path: Path, tarball: tuple[File, Path]) -> None:
    with running(tmp_path / "sshd", sftp="/bin/false") as sshd:
        told = refused(sshd.target(), tarball)
    assert told.message == f"127.0.0.1:{sshd.port} lets the farm in but opens no SFTP session"
    assert "subsystem sftp" in told.advice


@pytest.mark.system
def test_a_port_where_nobody_listens_is_told(target: TargetSettings, tarball: tuple[File, Path]) -> None:
    port = free_port()
    told = refused(target.model_copy(update={"port": port}), tarball)
    assert told.message.startswith(f"127.0.0.1:{port} cannot be reached: ")
    assert "that its SSH server runs" in told.advice


@pytest.mark.system
def test_a_server_that_says_nothing_is_given_up(target: TargetSettings, tarball: tuple[File, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        told = refused(target.model_copy(update={"port": port}), tarball, patience=0.1)
    assert told.message.startswith(f"no SSH connection to 127.0.0.1:{port} came about: ")
    assert "the network" in told.advice


@pytest.mark.parametrize(
    ("missing", "message", "advice"),
    [
        ({}, "no host keys are pinned for 127.0.0.1:22", "`known_hosts` in farm.toml"),
        ({"known_hosts": Path("/nowhere")}, "the pinned host keys in /nowhere cannot be read", "known_hosts"),
        ({"known_hosts": Path("/dev/null")}, "no key is set to upload to 127.0.0.1:22 with", "`identity`"),
        (
            {"known_hosts": Path("/dev/null"), "identity": Path("/dev/null")},
            "the upload key /dev/null cannot be used",
            "private key",
        ),
    ],
)
def test_what_the_settings_lack_is_told_before_anybody_is_called(
    missing: dict[str, Path], message: str, advice: str, tarball: tuple[File, Path]
) -> None:
    told = refused(TargetSettings.model_validate(missing), tarball)
    assert told.message == message
    assert advice in told.advice
