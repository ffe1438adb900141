# SPDX-License-Identifier: GPL-3.0-or-later
"""The reception with the real verifier and real files: what is offered is looked at as an enemy would have made it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator import dsc
from coordinator.errors import ArchiveUnreachable, BadRecipe, BadSignature, BadSource, PatchfarmError, UnknownName
from coordinator.model import File, Update, UpdateState, Urgency
from tests.farm import MALLORY, SAM, SUITE, VERSION, Farm
from tests.sources import Person, as_files, make_changes, resign


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A farm of which only the reception is asked."""
    return Farm(tmp_path)


@pytest.fixture
def paths(farm: Farm) -> list[Path]:
    """A good source package of Sam's."""
    return farm.source()


def take(farm: Farm, paths: list[Path], urgency: Urgency | None = None) -> Update:
    return farm.reception.uploaded("sam", SUITE, farm.bring(paths), urgency)


def test_a_good_source_becomes_an_update_that_has_not_begun(farm: Farm, paths: list[Path]) -> None:
    update = take(farm, paths)
    assert (update.state, update.id, update.suite, update.submitter) == (UpdateState.RECEIVED, 0, SUITE, "sam")
    assert (update.source.name, update.source.version, update.source.signed_by) == ("hello", VERSION, SAM.fingerprint)
    assert update.created_at == update.changed_at == farm.clock.now()


def test_the_recipe_is_pinned_by_its_bytes(farm: Farm, paths: list[Path]) -> None:
    update = take(farm, paths)
    _, text = farm.recipes.of_suite(SUITE)
    assert farm.blobs.path(update.recipe_sha256).read_text() == text
    assert update.approvals_needed == 2


def test_nothing_is_kept_in_the_store_by_looking(farm: Farm, paths: list[Path]) -> None:
    take(farm, paths)
    assert (farm.store.updates(), farm.store.outbox) == ([], {})


def test_the_urgency_is_the_submitters_or_the_changes_or_the_recipes(farm: Farm, paths: list[Path]) -> None:
    recipes, _ = farm.recipes.of_suite(SUITE)
    changes = make_changes(paths, SAM, urgency="low")
    assert take(farm, paths).urgency == recipes.urgency
    assert take(farm, [*paths, changes]).urgency == Urgency.LOW
    assert take(farm, [*paths, changes], Urgency.EMERGENCY).urgency == Urgency.EMERGENCY


def dropped(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "message"), [(dropped, r"bytes, \d+ were declared"), (flipped, "has the sha256 .* was declared")]
)
@pytest.mark.parametrize("which", [1, 2])
def test_a_file_that_is_not_as_the_dsc_says_is_refused(
    farm: Farm, paths: list[Path], which: int, damage: Callable[[Path], None], message: str
) -> None:
    damage(paths[which])
    with pytest.raises(BadSource, match=message):
        take(farm, paths)


def test_a_dsc_that_was_cut_off_is_refused(farm: Farm, paths: list[Path]) -> None:
    paths[0].write_bytes(paths[0].read_bytes()[:-200])
    with pytest.raises(BadSignature):
        take(farm, paths)


def test_a_dsc_that_was_altered_after_it_was_signed_is_refused(farm: Farm, paths: list[Path]) -> None:
    paths[0].write_bytes(paths[0].read_bytes().replace(b"Architecture: any", b"Architecture: all"))
    with pytest.raises(BadSignature, match="no good signature by anybody in the keyring"):
        take(farm, paths)


def test_an_unsigned_dsc_is_refused(farm: Farm, paths: list[Path]) -> None:
    paths[0].write_bytes(dsc.cleartext(paths[0].read_bytes()))
    with pytest.raises(BadSignature):
        take(farm, paths)


def test_a_source_signed_by_a_stranger_is_refused(farm: Farm) -> None:
    with pytest.raises(BadSignature, match="no good signature by anybody in the keyring"):
        take(farm, farm.source(key=MALLORY))


def test_a_stranger_of_the_same_name_is_a_stranger(farm: Farm) -> None:
    with pytest.raises(BadSignature):
        take(farm, farm.source(key=Person("sam")))


def test_a_source_signed_by_somebody_whose_key_was_revoked_is_refused(farm: Farm, paths: list[Path]) -> None:
    (farm.keyrings / "submitters" / "sam.asc").write_bytes(SAM.revoked())
    with pytest.raises(BadSignature):
        take(farm, paths)


PARAGRAPH = b"Source: evil\nVersion: 9\n\n"


@pytest.mark.parametrize("wrap", [lambda data: PARAGRAPH + data, lambda data: data + b"\n" + PARAGRAPH])
def test_a_paragraph_outside_the_signed_block_is_refused(
    farm: Farm, paths: list[Path], wrap: Callable[[bytes], bytes]
) -> None:
    paths[0].write_bytes(wrap(paths[0].read_bytes()))
    with pytest.raises(BadSignature, match="one cleartext-signed message with nothing before or after it"):
        take(farm, paths)


def test_two_signed_messages_in_one_dsc_are_refused(farm: Farm, paths: list[Path]) -> None:
    data = paths[0].read_bytes()
    paths[0].write_bytes(data + data)
    with pytest.raises(BadSignature):
        take(farm, paths)


@pytest.mark.parametrize("name", ["../evil.dsc", "/etc/evil.dsc", "a/b.dsc", "-evil.dsc", "evil\n.dsc"])
def test_an_offered_name_that_is_no_plain_one_is_refused(farm: Farm, paths: list[Path], name: str) -> None:
    files = farm.bring(paths)
    with pytest.raises(BadSource, match="is not a plain file name"):
        farm.reception.uploaded("sam", SUITE, [replace(files[0], name=name), *files[1:]], None)


def test_a_signed_dsc_that_names_a_path_is_refused(farm: Farm, paths: list[Path]) -> None:
    resign(paths[0], SAM, lambda text: text.replace(" hello_1.0.orig", " ../hello_1.0.orig"))
    with pytest.raises(BadSource, match="is not a plain file name"):
        take(farm, paths)


def test_a_suite_without_a_recipe_is_unknown_before_anything_is_read(farm: Farm) -> None:
    with pytest.raises(UnknownName, match="there is no recipe for the suite 'sid'"):
        farm.reception.uploaded("sam", "sid", [], None)


def test_a_file_that_was_not_brought_is_unknown(farm: Farm, paths: list[Path]) -> None:
    farm.bring(paths[:2])
    with pytest.raises(UnknownName, match="there is no file with the sha256"):
        farm.reception.uploaded("sam", SUITE, as_files(paths), None)


def test_a_size_that_is_not_the_files_own_is_refused(farm: Farm, paths: list[Path]) -> None:
    files = farm.bring(paths)
    lie = replace(files[1], size=files[1].size + 1)
    with pytest.raises(BadSource, match=f"has {files[1].size} bytes, {lie.size} were declared"):
        farm.reception.uploaded("sam", SUITE, [files[0], lie, files[2]], None)


def test_a_dsc_larger_than_any_real_one_is_not_read(farm: Farm, paths: list[Path]) -> None:
    paths[0].write_bytes(b"x" * (dsc.MAX_BYTES + 1))
    with pytest.raises(BadSource, match="is the most that is read"):
        take(farm, paths)


def test_a_keyring_that_is_not_there_is_the_farms_fault_and_is_named(farm: Farm, paths: list[Path]) -> None:
    (farm.keyrings / "submitters" / "sam.asc").unlink()
    (farm.keyrings / "submitters").rmdir()
    with pytest.raises(BadRecipe, match="the recipe's keyring 'submitters' is not there") as refused:
        take(farm, paths)
    assert str(farm.keyrings) in refused.value.advice


def test_a_keyring_may_be_a_single_file(farm: Farm, paths: list[Path]) -> None:
    folder = farm.keyrings / "submitters"
    (folder / "sam.asc").rename(farm.keyrings / "submitters.asc")
    folder.rmdir()
    assert take(farm, paths).source.signed_by == SAM.fingerprint


@pytest.mark.parametrize(
    ("what", "message"),
    [({"distribution": "unstable"}, "is for unstable"), ({"arch": "source amd64"}, "only `source` is taken")],
)
def test_a_changes_that_asks_for_something_else_is_refused(
    farm: Farm, paths: list[Path], what: dict[str, str], message: str
) -> None:
    with pytest.raises(BadSource, match=message):
        take(farm, [*paths, make_changes(paths, SAM, **what)])


def test_a_changes_of_another_signer_is_refused(farm: Farm, paths: list[Path]) -> None:
    MALLORY.write_cert(farm.keyrings / "submitters")
    with pytest.raises(BadSource, match=f"the .changes is signed by {MALLORY.fingerprint}"):
        take(farm, [*paths, make_changes(paths, MALLORY)])


def test_a_changes_of_a_stranger_is_refused(farm: Farm, paths: list[Path]) -> None:
    with pytest.raises(BadSignature):
        take(farm, [*paths, make_changes(paths, MALLORY)])


def test_a_file_that_is_offered_and_named_by_nobody_is_not_kept(farm: Farm, paths: list[Path]) -> None:
    stray = paths[0].with_name("stray.tar.xz")
    stray.write_bytes(b"more")
    assert "stray.tar.xz" not in [file.name for file in take(farm, [*paths, stray]).source.files]


@pytest.mark.parametrize("offered", [[], ["hello_1.0-1.dsc", "other_1.0-1.dsc"]])
def test_a_submission_has_one_dsc(farm: Farm, offered: list[str]) -> None:
    files = [File(name, "0" * 64, 1) for name in offered]
    with pytest.raises(BadSource, match=r"one \.dsc and at most one \.changes"):
        farm.reception.uploaded("sam", SUITE, files, None)


def test_every_refusal_is_the_submitters_own_and_says_what_to_do(farm: Farm, paths: list[Path]) -> None:
    dropped(paths[1])
    with pytest.raises(PatchfarmError) as refused:
        take(farm, paths)
    assert (refused.value.blame, refused.value.status) == ("submitter", 422)
    assert refused.value.advice.endswith(".")


def test_a_source_of_the_archive_is_brought_into_the_blobs(farm: Farm, paths: list[Path]) -> None:
    farm.archive.put(SUITE, "hello", VERSION, paths)
    source = farm.reception.from_archive("sam", SUITE, "hello", None).source
    assert all(
        farm.blobs.path(file.sha256).read_bytes() == path.read_bytes()
        for file, path in zip(source.files, paths, strict=True)
    )


def test_what_is_in_the_blobs_already_is_not_fetched_again(farm: Farm, paths: list[Path]) -> None:
    farm.archive.put(SUITE, "hello", VERSION, paths)
    farm.bring(paths)
    farm.archive.gone |= {path.name for path in paths}
    assert farm.reception.from_archive("sam", SUITE, "hello", None).source.version == VERSION


def test_an_archive_that_sends_other_bytes_than_its_index_lists_is_refused(farm: Farm, paths: list[Path]) -> None:
    farm.archive.put(SUITE, "hello", VERSION, paths)
    farm.archive.swap(paths[1], b"evil")
    with pytest.raises((BadSource, ArchiveUnreachable)):
        farm.reception.from_archive("sam", SUITE, "hello", None)
    assert not farm.blobs.has(as_files(paths)[1].sha256)
