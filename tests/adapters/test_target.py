# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded archive on a real reprepro: it takes what the release key signed, and shows it in a signed index."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import gpg
from coordinator.archive import HttpArchive
from coordinator.errors import BadRecipe, PatchfarmError
from coordinator.openpgp import SequoiaVerifier
from coordinator.target import ArchiveTarget
from coordinator.target.reprepro import Layout, Repository
from tests.sources import Person, as_files, make_changes, make_source

pytestmark = pytest.mark.system

SUITE = "bookworm-security"
RELEASE, STRANGER = Person("release"), Person("stranger")


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "target")
    Repository(layout).prepare([SUITE, "trixie-security"], str(RELEASE.cert).encode())
    yield layout
    gpg.stop(layout.gnupg)


def reader(layout: Layout) -> ArchiveTarget:
    archive = HttpArchive(layout.root.parent / "indices", SequoiaVerifier())
    return ArchiveTarget(archive, layout.repository.as_uri(), layout.certificate)


def versions(layout: Layout, suite: str = SUITE) -> list[str]:
    """What a reader of the archive sees."""
    return reader(layout).versions(suite, "sample")


def arrive(layout: Layout, key: Person = RELEASE, suite: str = SUITE) -> None:
    """A source upload in the incoming queue; the same one however often."""
    folder = layout.root.parent / "source"
    if not folder.exists():
        paths = make_source(folder, "sample", "1.0-1", key, suite=suite)
        make_changes(paths, key, distribution=suite)
    for path in folder.iterdir():
        shutil.copy(path, layout.incoming)


def refuse(layout: Layout) -> str:
    """What the archive says of what is in its queue and that it does not take."""
    with pytest.raises(PatchfarmError) as caught:
        Repository(layout).take_in()
    assert versions(layout) == []
    return caught.value.message


def test_every_suite_can_be_read_before_anything_was_published(layout: Layout) -> None:
    assert versions(layout) == versions(layout, "trixie-security") == []


def test_what_the_release_key_signed_is_published_and_nothing_stays_in_the_queue(layout: Layout) -> None:
    arrive(layout)
    repository = Repository(layout)
    assert repository.waiting()
    repository.take_in()
    assert versions(layout) == ["1.0-1"]
    assert list(layout.incoming.iterdir()) == []


def test_the_index_tells_which_dsc_it_has(layout: Layout) -> None:
    arrive(layout)
    (dsc,) = as_files(list(layout.incoming.glob("*.dsc")))
    Repository(layout).take_in()
    (entry,) = reader(layout).sources(SUITE, "sample")
    assert (entry.version, entry.files[0]) == ("1.0-1", dsc)


def test_what_another_key_signed_is_not_published_and_is_kept_to_be_looked_at(layout: Layout) -> None:
    arrive(layout, key=STRANGER)
    assert "No distribution accepting" in refuse(layout)
    assert not Repository(layout).waiting()
    assert list((layout.root / "morgue").rglob("*.changes"))


def test_an_altered_upload_is_not_published(layout: Layout) -> None:
    arrive(layout)
    (tarball,) = layout.incoming.glob("*.debian.tar.xz")
    tarball.write_bytes(tarball.read_bytes() + b"more")
    assert "debian.tar.xz" in refuse(layout)


def test_the_same_upload_twice_does_no_harm(layout: Layout) -> None:
    for _ in range(2):
        arrive(layout)
        Repository(layout).take_in()
    assert versions(layout) == ["1.0-1"]
    assert list(layout.incoming.iterdir()) == []


def test_an_upload_for_a_suite_that_the_archive_has_not_is_not_published(layout: Layout) -> None:
    arrive(layout, suite="forky-security")
    assert "No distribution found" in refuse(layout)


def test_preparing_again_keeps_what_is_published_and_the_archives_key(layout: Layout) -> None:
    arrive(layout)
    Repository(layout).take_in()
    before = layout.certificate.read_bytes()
    Repository(layout).prepare([SUITE, "trixie-security", "forky-security"], str(RELEASE.cert).encode())
    assert versions(layout) == ["1.0-1"]
    assert versions(layout, "forky-security") == []
    assert layout.certificate.read_bytes() == before


def test_a_suite_that_no_recipe_names_any_more_keeps_nobody_from_publishing_to_the_others(layout: Layout) -> None:
    repository = Repository(layout)
    repository.prepare([SUITE], str(RELEASE.cert).encode())
    arrive(layout)
    repository.take_in()
    assert versions(layout) == ["1.0-1"]


def test_a_source_that_is_removed_may_be_published_again(layout: Layout) -> None:
    arrive(layout)
    Repository(layout).take_in()
    Repository(layout).remove(SUITE, "sample")
    assert versions(layout) == []
    arrive(layout)
    Repository(layout).take_in()
    assert versions(layout) == ["1.0-1"]


def test_a_target_without_an_address_to_read_is_the_settings_fault(tmp_path: Path) -> None:
    archive = HttpArchive(tmp_path, SequoiaVerifier())
    with pytest.raises(BadRecipe, match="no address"):
        ArchiveTarget(archive, "", None).versions(SUITE, "sample")
