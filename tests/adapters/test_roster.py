# SPDX-License-Identifier: GPL-3.0-or-later
"""What every Store promises about workers and tokens, on memory, SQLite and PostgreSQL."""

from dataclasses import replace

import pytest

from coordinator.duty import Held
from coordinator.errors import NotAllowed, UnknownName
from coordinator.model import Clearance, JobState, Role, Worker, sha256_of
from coordinator.ports import Store
from tests.adapters.store_kit import MINUTE, NOW, at_once, job, leased, update
from workers.wire.arch import Arch, Tier
from workers.wire.order import JobKey, JobKind
from workers.wire.report import Offer

OFFER = Offer("w1", {Arch.AMD64: Tier.NATIVE, Arch.I386: Tier.NATIVE}, 4, "host", 8, 2**40)


def seen(name: str = "w1") -> Worker:
    """As a worker is known that nobody admitted."""
    return Worker(name, OFFER.tiers, 4, NOW, "host", 8, 2**40, name, Clearance.PUBLIC, False)


def let_in(store: Store, *names: str) -> None:
    """Each has a token."""
    for name in names:
        store.grant(name, Role.WORKER, sha256_of(name))


def test_a_worker_is_known_as_last_heard_of(store: Store) -> None:
    let_in(store, "w1", "W2")
    store.seen(replace(OFFER, tiers={Arch.ARM64: Tier.EMULATED}, host="old", cores=1), NOW - MINUTE)
    store.seen(replace(OFFER, worker="W2"), NOW)
    store.seen(OFFER, NOW)
    assert store.workers() == [seen("W2"), seen()]


def test_workers_may_sign_on_at_once(store: Store) -> None:
    let_in(store, "w1")
    assert at_once(*(lambda: store.seen(OFFER, NOW) for _ in range(6))) == [None] * 6
    assert store.workers() == [seen()]


def test_what_the_operator_decided_outlives_every_sign_of_life(store: Store) -> None:
    let_in(store, "w1")
    store.admit("w1", "rack 1", Clearance.PUBLIC)
    assert store.workers() == []
    store.seen(OFFER, NOW)
    store.drain("w1", True)
    store.seen(OFFER, NOW)
    assert store.workers() == [replace(seen(), trust_domain="rack 1", clearance=Clearance.PUBLIC, draining=True)]


def test_a_worker_that_was_admitted_anew_drains_as_before(store: Store) -> None:
    let_in(store, "w1")
    store.seen(OFFER, NOW)
    store.drain("w1", True)
    store.admit("w1", "rack 1", Clearance.EMBARGOED)
    admitted = replace(seen(), trust_domain="rack 1", clearance=Clearance.EMBARGOED)
    assert store.workers() == [replace(admitted, draining=True)]
    store.drain("w1", False)
    assert store.workers() == [admitted]


def test_what_the_operator_does_not_say_again_stays(store: Store) -> None:
    let_in(store, "w1")
    store.admit("w1", None, Clearance.PUBLIC)
    store.admit("w1", None, None)
    store.admit("w1", "rack-1", None)
    store.seen(OFFER, NOW)
    assert store.workers() == [replace(seen(), trust_domain="rack-1", clearance=Clearance.PUBLIC)]


def test_a_worker_that_was_dismissed_is_forgotten_with_its_token_alone(store: Store) -> None:
    store.grant("w1", Role.WORKER, "1" * 64)
    store.grant("w1", Role.PERSON, "2" * 64)
    store.grant("w2", Role.WORKER, "3" * 64)
    store.admit("w1", "rack 1", Clearance.PUBLIC)
    store.seen(OFFER, NOW)
    store.dismiss("w1")
    assert store.workers() == []
    assert [store.bearer(digit * 64) for digit in "123"] == [None, ("w1", Role.PERSON), ("w2", Role.WORKER)]
    let_in(store, "w1")
    store.seen(OFFER, NOW)
    assert store.workers() == [seen()]


def test_a_worker_that_was_dismissed_a_moment_ago_does_not_sign_on_again(store: Store) -> None:
    let_in(store, "w1", "w2")
    store.seen(OFFER, NOW)
    store.dismiss("w1")
    with pytest.raises(NotAllowed, match="w1 was dismissed"):
        store.seen(OFFER, NOW)
    assert store.workers() == []


def test_whether_it_is_dismissed_before_or_after_a_sign_of_life_it_is_gone(store: Store) -> None:
    for _ in range(20):
        let_in(store, "w1")
        store.admit("w1", "rack 1", Clearance.PUBLIC)
        at_once(lambda: store.seen(OFFER, NOW), lambda: store.dismiss("w1"), lambda: store.seen(OFFER, NOW))
        assert store.workers() == []


def test_a_worker_that_was_admitted_and_never_seen_can_be_dismissed(store: Store) -> None:
    store.admit("w1", "rack 1", Clearance.PUBLIC)
    store.dismiss("w1")
    with pytest.raises(UnknownName):
        store.drain("w1", True)


def test_nobody_knows_a_worker_that_was_neither_seen_nor_admitted(store: Store) -> None:
    with pytest.raises(UnknownName, match="w1"):
        store.drain("w1", True)
    with pytest.raises(UnknownName, match="w1"):
        store.dismiss("w1")


def test_what_workers_have_is_told_the_oldest_first(store: Store) -> None:
    later = replace(leased(Arch.I386), started_at=NOW + MINUTE, worker="w2")
    store.add(update(later, job(Arch.ALL), leased(), job(Arch.ARM64, JobState.SUCCEEDED, worker="w1")), "", "", ())
    amd64 = JobKey(1, JobKind.BUILD, Arch.AMD64)
    expected = [Held("w1", amd64, 1, NOW), Held("w2", replace(amd64, arch=Arch.I386), 1, NOW + MINUTE)]
    assert store.held() == expected


def test_a_token_tells_who_bears_it_until_it_is_replaced(store: Store) -> None:
    store.grant("sam", Role.PERSON, "1" * 64)
    store.grant("sam", Role.WORKER, "2" * 64)
    store.grant("sam", Role.PERSON, "3" * 64)
    assert store.bearer("1" * 64) is None
    assert store.bearer("2" * 64) == ("sam", Role.WORKER)
    assert store.bearer("3" * 64) == ("sam", Role.PERSON)


def test_a_token_that_is_given_to_another_is_no_longer_the_first_ones(store: Store) -> None:
    store.grant("sam", Role.PERSON, "1" * 64)
    store.grant("ann", Role.PERSON, "1" * 64)
    store.grant("ann", Role.WORKER, "1" * 64)
    assert store.bearer("1" * 64) == ("ann", Role.WORKER)
    store.grant("sam", Role.PERSON, "2" * 64)
    assert store.bearer("2" * 64) == ("sam", Role.PERSON)
