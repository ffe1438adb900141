# SPDX-License-Identifier: GPL-3.0-or-later
"""Two packages are the same, or it is told what differs; nothing in either can hurt who compares."""

import io
import lzma
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator import compare as module
from coordinator.compare import Comparison, compare
from coordinator.errors import BadSource
from tests.sources import Person, make_source

CONTROL = "Package: sample\nVersion: 1.0\nArchitecture: amd64\n"
NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"


def elf(build_id: bytes, code: bytes = b"code") -> bytes:
    link = build_id.hex()[2:].encode().ljust(38, b"0")[:38] + b".debug\0\0\0\0" + build_id[:4]
    shared = b"/usr/lib/debug/.dwz/x86_64-linux-gnu/sample.debug\0" + build_id[::-1].ljust(20, b"\2")
    return b"\x7fELF" + code + NOTE + build_id.ljust(20, b"\1") + shared + link + b"end"


def tar(files: dict[str, bytes], edit: Callable[[tarfile.TarInfo], None] = lambda info: None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            edit(info)
            packed.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    def member(name: str, data: bytes) -> bytes:
        return f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)

    return b"!<arch>\n" + b"".join(member(name, data) for name, data in members.items())


def deb(data: bytes, control: str = CONTROL) -> bytes:
    parts = {"control.tar.xz": tar({"control": control.encode(), "md5sums": data[-3:]}), "data.tar.xz": data}
    return ar({"debian-binary": b"2.0\n", **{name: lzma.compress(part, preset=0) for name, part in parts.items()}})


def told(folder: Path, built: bytes, reference: bytes) -> Comparison:
    (folder / "built.deb").write_bytes(built)
    (folder / "reference.deb").write_bytes(reference)
    return compare(folder / "built.deb", folder / "reference.deb", reference_verified=True)


def test_the_same_bytes_are_identical(tmp_path: Path) -> None:
    same = deb(tar({"a": b"1"}))
    assert told(tmp_path, same, same) == Comparison(identical=True, differences=(), reference_verified=True)


def test_a_changed_a_missing_and_an_added_file_are_named(tmp_path: Path) -> None:
    found = told(tmp_path, deb(tar({"a": b"1", "b": b"1"})), deb(tar({"b": b"2", "c": b"1"})))
    assert found.differences == ("a: only in what was built", "b: contents", "c: only in the reference")


def test_a_build_id_that_alone_differs_is_told_as_that(tmp_path: Path) -> None:
    found = told(tmp_path, deb(tar({"lib.so": elf(b"\xaa" * 20)})), deb(tar({"lib.so": elf(b"\xbb" * 20)})))
    assert found.differences == ("lib.so: the build-id alone",)


def test_other_code_with_another_build_id_is_told_as_contents(tmp_path: Path) -> None:
    ours, theirs = elf(b"\xaa" * 20), elf(b"\xbb" * 20, b"evil")
    assert told(tmp_path, deb(tar({"lib.so": ours})), deb(tar({"lib.so": theirs}))).differences == ("lib.so: contents",)


def test_a_control_field_is_told_with_both_values(tmp_path: Path) -> None:
    same = tar({"a": b"1"})
    found = told(tmp_path, deb(same, CONTROL + "Depends: x\n"), deb(same, CONTROL.replace("1.0", "2.0")))
    assert found.differences == (
        "control field Depends: 'x' instead of nothing",
        "control field Version: '1.0' instead of '2.0'",
    )


def _older(info: tarfile.TarInfo) -> None:
    info.mtime, info.mode, info.uid = 1, 0o755, 7


def test_mode_owner_and_time_are_told(tmp_path: Path) -> None:
    found = told(tmp_path, deb(tar({"a": b"1"}, _older)), deb(tar({"a": b"1"})))
    assert found.differences == ("a: mode 755 instead of 644, owner, time",)


def test_the_same_contents_packed_differently_are_not_identical(tmp_path: Path) -> None:
    data = tar({"a": b"1"})
    plain = ar({"debian-binary": b"2.0\n", "control.tar": tar({"control": b"Package: a\n"}), "data.tar": data})
    again = plain.replace(f"{100644:<8}".encode(), f"{100600:<8}".encode())
    assert told(tmp_path, plain, again).differences == ("the same contents, packed differently",)


def test_a_long_list_of_differences_is_cut(tmp_path: Path) -> None:
    found = told(tmp_path, deb(tar({f"{n:03}": b"1" for n in range(80)})), deb(tar({})))
    assert len(found.differences) == 51
    assert found.differences[-1] == "and 30 more"


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    found = told(tmp_path, deb(tar({"a\x1b[2J": b"1"})), deb(tar({})))
    assert found.differences == ("a?[2J: only in what was built",)


def _sparse(info: tarfile.TarInfo) -> None:
    info.type = tarfile.GNUTYPE_SPARSE


HOSTILE = {
    "no archive": b"x",
    "nothing": b"",
    "no parts": ar({"debian-binary": b"2.0\n"}),
    "a member that leads back": ar({"debian-binary": b""}).replace(f"{0:<10}`".encode(), b"-60       `"),
    "many members": ar({str(number): b"" for number in range(50)}),
    "an unknown packing": ar({"control.tar.zz": b"", "data.tar.zz": b""}),
    "a sparse file": deb(tar({"a": b""}, _sparse)),
    "a chain of headers": deb((tar({"a": b""}, lambda info: setattr(info, "type", b"x"))[:512]) * 3000),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_no_package_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(BadSource):
        told(tmp_path, HOSTILE[what], deb(tar({})))


def test_a_package_that_unpacks_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(BadSource, match="unpacks to more than 1048576 bytes"):
        told(tmp_path, deb(tar({"a": bytes(2 << 20)})), deb(tar({})))


def test_a_header_that_asks_for_too_much_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_READ", 1 << 20)
    long_name = tar({"a": bytes(2 << 20)}, lambda info: setattr(info, "type", tarfile.GNUTYPE_LONGNAME))
    with pytest.raises(BadSource, match="cannot be read as a package"):
        told(tmp_path, deb(long_name), deb(tar({})))


GOOD = deb(tar({"usr/a": b"1", "usr/lib.so": elf(b"\xaa" * 20)}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 60), piece=st.binary(max_size=20))
def test_no_mutation_makes_it_fail_in_another_way(tmp_path: Path, at: int, cut: int, piece: bytes) -> None:
    with suppress(BadSource):
        told(tmp_path, GOOD[:at] + piece + GOOD[at + cut :], GOOD)


PLAIN = ar({"debian-binary": b"2.0\n", "control.tar": tar({"control": b"Package: a\n"}), "data.tar": tar({"a": b"1"})})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(PLAIN)), cut=st.integers(0, 60), piece=st.binary(max_size=20))
def test_no_mutation_of_an_unpacked_tar_does_either(tmp_path: Path, at: int, cut: int, piece: bytes) -> None:
    with suppress(BadSource):
        told(tmp_path, PLAIN[:at] + piece + PLAIN[at + cut :], PLAIN)


def build(folder: Path, version: str, greeting: str) -> Path:
    dsc = make_source(folder, "sample", version, Person("alice"), greeting=greeting)[0]
    tree = folder / "tree"
    subprocess.run(["dpkg-source", "--extract", str(dsc), str(tree)], check=True, capture_output=True)
    subprocess.run(["dpkg-buildpackage", "--build=any", "--no-sign"], cwd=tree, check=True, capture_output=True)
    return next(folder.glob("*.deb"))


@pytest.mark.system
def test_a_sample_source_builds_the_same_package_twice(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name, "1.0-1", "hello\n") for name in ("first", "second"))
    assert compare(first, second, reference_verified=False).identical


@pytest.mark.system
def test_a_patched_sample_differs_where_it_was_patched(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a", "1.0-1", "hello\n"), build(tmp_path / "b", "1.0-1+deb12u1", "hello, world\n")
    assert compare(second, first, reference_verified=True).differences == (
        "control field Version: '1.0-1+deb12u1' instead of '1.0-1'",
        "usr/share/sample/greeting: contents",
    )
