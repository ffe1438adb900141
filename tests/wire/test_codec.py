# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract as bytes: everything survives the way there and back, and nothing else gets in."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.kinds import TOP, values
from workers.wire.arch import Arch, Tier
from workers.wire.codec import WireError, decode, encode
from workers.wire.order import WIRE_VERSION, Order
from workers.wire.report import Heartbeat, Offer, Report, StepTiming

OFFER = Offer("host-1", {Arch.AMD64: Tier.NATIVE, Arch.S390X: Tier.EMULATED}, 2, "host", 2, 8 << 30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def raw(value: object) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode(value))
    return read


@pytest.mark.parametrize("kind", TOP)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_value_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    assert decode(kind, encode(value)) == value


@pytest.mark.parametrize("kind", TOP)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_unknown_key_is_refused_and_named(kind: type, data: st.DataObject) -> None:
    said = raw(data.draw(values(kind))) | {"private_key": "x"}
    with pytest.raises(WireError, match=r"unknown .'private_key'."):
        decode(kind, json.dumps(said))


@pytest.mark.parametrize("kind", TOP)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_missing_key_is_refused_and_named(kind: type, data: st.DataObject) -> None:
    said = raw(data.draw(values(kind)))
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    gone = data.draw(st.sampled_from(required))
    del said[gone]
    with pytest.raises(WireError, match=f"missing .'{gone}'."):
        decode(kind, json.dumps(said))


@pytest.mark.parametrize("kind", TOP)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_value_of_any_other_shape_is_refused_or_means_the_same(kind: type, data: st.DataObject) -> None:
    said = raw(data.draw(values(kind)))
    place = data.draw(st.sampled_from(sorted(said)))
    said[place] = data.draw(JSON)
    try:
        decoded: object = decode(kind, json.dumps(said))
    except WireError:
        return
    assert raw(decoded)[place] == said[place]


@given(st.binary() | JSON.map(json.dumps))
def test_no_bytes_do_worse_than_a_wire_error(said: bytes | str) -> None:
    with pytest.raises(WireError):
        decode(Report, said)


@pytest.mark.parametrize(
    "kind", [kind for kind in TOP if "version" in {field.name for field in dataclasses.fields(kind)}]
)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_another_version_is_refused_with_both_numbers(kind: type, data: st.DataObject) -> None:
    said = raw(data.draw(values(kind))) | {"version": 1}
    with pytest.raises(WireError, match=f"speaks version 1, this side speaks {WIRE_VERSION}"):
        decode(kind, json.dumps(said))


def test_orders_reports_and_offers_carry_a_version() -> None:
    assert all("version" in raw_fields for raw_fields in map(names, (Order, Report, Offer)))


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("slots", [True, 2.0, "2", None, [2], {"2": 2}])
def test_a_number_is_a_number_and_nothing_like_it(slots: object) -> None:
    with pytest.raises(WireError, match=r"Offer\.slots: int was expected"):
        decode(Offer, json.dumps(raw(OFFER) | {"slots": slots}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_number_that_no_database_keeps_is_refused(number: str) -> None:
    timing = encode(StepTiming("compile", 0, 0.5, 0.0))
    with pytest.raises(WireError, match="number"):
        decode(StepTiming, timing.replace("0.5", number))


@pytest.mark.parametrize("name", ["host\\u0000", "\\ud800"])
def test_text_that_no_database_keeps_is_refused(name: str) -> None:
    with pytest.raises(WireError, match=r"Offer\.worker: text"):
        decode(Offer, encode(OFFER).replace("host-1", name))


def test_an_architecture_that_does_not_exist_is_refused_as_value_and_as_key() -> None:
    with pytest.raises(WireError, match="'vax' is not one of"):
        decode(Offer, encode(OFFER).replace('"amd64"', '"vax"'))


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(WireError):
        decode(Heartbeat, "[" * 100_000)


def test_only_wire_types_are_encoded() -> None:
    with pytest.raises(TypeError, match="not a wire type"):
        encode({"worker": "host-1"})
