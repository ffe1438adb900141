# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar streams of a sandbox: what goes in is exact, what comes out is one small regular file or nothing."""

import io
import tarfile
from pathlib import Path

import pytest

from workers.sandbox import FILE_NAME, OutputRefused, OutputTooLarge
from workers.sandbox.tar import files, only_file, refuse_unless_small_file, stream


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


def _folder(*members: tuple[str, bytes, bytes]) -> list[bytes]:
    """A folder's stream: name, kind and content of each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in ((".outputs", tarfile.DIRTYPE, b""), *members):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/shadow"
            archive.addfile(member, io.BytesIO(content))
    return _pieces(buffer.getvalue())


def test_the_files_of_a_folder_come_out_by_their_bare_names(tmp_path: Path) -> None:
    stream = _folder((".outputs/a.deb", tarfile.REGTYPE, b"a" * 1000), (".outputs/b.deb", tarfile.REGTYPE, b""))
    assert files(iter(stream), tmp_path, 1000, 2) == []
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"a.deb": 1000, "b.deb": 0}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_whatever_else_a_folder_has_stays_inside_and_is_named(tmp_path: Path, kind: bytes) -> None:
    stream = _folder((".outputs/a.deb", kind, b""), (".outputs/b.deb", tarfile.REGTYPE, b"b"))
    assert files(iter(stream), tmp_path, 10, 2) == ["a.deb is not a regular file"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.deb"]


def test_a_name_that_leads_elsewhere_leads_into_the_folder_or_nowhere(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    names = ("../../out.deb", "/etc/cron.d/x", ".outputs/..", ".outputs/-rf.deb")
    refused = files(iter(_folder(*((name, tarfile.REGTYPE, b"x") for name in names))), into, 10, 9)
    assert refused == ["'..' is no name for a file", "'-rf.deb' is no name for a file"]
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")) == [Path("into/out.deb")]


def test_two_files_of_one_name_are_one(tmp_path: Path) -> None:
    stream = _folder(("x/a.deb", tarfile.REGTYPE, b"1"), ("y/a.deb", tarfile.REGTYPE, b"2"))
    assert files(iter(stream), tmp_path, 10, 9) == ["there are two a.deb"]
    assert (tmp_path / "a.deb").read_bytes() == b"1"


def test_too_many_files_or_too_large_ones_are_not_read(tmp_path: Path) -> None:
    stream = _folder(*((f".outputs/{number}.deb", tarfile.REGTYPE, b"12345") for number in range(3)))
    with pytest.raises(OutputTooLarge, match="more than 2 files"):
        files(iter(stream), tmp_path, 1000, 2)
    (tmp_path / "second").mkdir()
    with pytest.raises(OutputTooLarge, match=r"2.deb is larger"):
        files(iter(stream), tmp_path / "second", 14, 9)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    stream = b"".join(_folder((".outputs/a.deb", tarfile.REGTYPE, bytes(5000))))
    with pytest.raises(OutputRefused):
        files(iter([stream[:2000]]), tmp_path, 10_000, 9)
