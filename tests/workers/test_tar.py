# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar streams of a sandbox: what goes in is exact, what comes out is one small regular file or nothing."""

import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from workers.sandbox import FILE_NAME, OutputRefused, OutputTooLarge, fits
from workers.sandbox.tar import only_file, refuse_unless_small_file, stream


def _tar(kind: bytes, content: bytes = b"", name: str = "a.deb") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(content), "/etc/shadow"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _pieces(data: bytes) -> list[bytes]:
    return [data[start : start + 100] for start in range(0, len(data), 100)]


def test_what_goes_in_belongs_to_the_builder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1" * 1000)
    data = b"".join(stream([("a_1.dsc", tmp_path / "x"), ("empty", Path("/dev/null"))]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [(m.name, m.size, m.uid, m.gid) for m in archive] == [
            ("a_1.dsc", 1000, 1000, 1000),
            ("empty", 0, 1000, 1000),
        ]


def test_a_regular_file_comes_out_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    assert only_file("a.deb", iter(_pieces(_tar(tarfile.REGTYPE, content))), tmp_path / "out", 20_000) == len(content)
    assert (tmp_path / "out").read_bytes() == content


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_what_is_no_regular_file_stays_inside(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(OutputRefused, match="not a regular file"):
        only_file("a.deb", iter(_pieces(_tar(kind))), tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_a_members_own_name_is_never_used(tmp_path: Path) -> None:
    data = _tar(tarfile.REGTYPE, b"x", "../../escaped")
    only_file("a.deb", iter([data]), tmp_path / "out", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_larger_than_what_is_left_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(OutputTooLarge):
        only_file("a.deb", iter([_tar(tarfile.REGTYPE, bytes(2000))]), tmp_path / "out", 1999)
    with pytest.raises(OutputTooLarge):
        refuse_unless_small_file("a.deb", {"mode": 0o644, "size": 2000}, 1999)


@pytest.mark.parametrize("bit", [31, 27, 26, 25, 24, 21, 19])
def test_the_engines_word_that_it_is_no_regular_file_is_enough(bit: int) -> None:
    with pytest.raises(OutputRefused):
        refuse_unless_small_file("a.deb", {"mode": 1 << bit | 0o644, "size": 0}, 10)


@pytest.mark.parametrize("data", [b"", b"not a tar" * 100, _tar(tarfile.REGTYPE, bytes(1000))[:700]])
def test_a_damaged_stream_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(OutputRefused):
        only_file("a.deb", iter([data]), tmp_path / "out", 1000)


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "..", "a/b", "a b", "a\n", "ä", "_x"])
def test_names_that_no_package_file_has_are_refused(name: str) -> None:
    assert not FILE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    ("path", "pattern", "fitting"),
    [("a.deb", "*.deb", True), ("tree/a.deb", "*.deb", False), ("autopkgtest/summary", "autopkgtest/summary", True)],
)
def test_a_star_never_spans_a_folder(path: str, pattern: str, fitting: bool) -> None:
    assert fits(PurePosixPath(path), pattern) is fitting
