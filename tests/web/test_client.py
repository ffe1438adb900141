# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client makes of answers that no farm gives, and of none."""

import io
from collections.abc import Callable

import httpx2
import pytest

from coordinator.client import Client
from coordinator.errors import BadRequest, FarmDown, PatchfarmError
from tests.web.kit import KEY, file

Answer = Callable[[httpx2.Request], httpx2.Response]


def client(answer: Answer) -> Client:
    """A client of a server that answers so."""
    return Client(httpx2.Client(base_url="http://farm.example.org", transport=httpx2.MockTransport(answer)))


def says(status: int, **answer: object) -> Client:
    return client(lambda _request: httpx2.Response(status, **answer))  # type: ignore[arg-type]  # whatever it takes


def raises(error: Exception) -> Client:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise error

    return client(answer)


@pytest.mark.parametrize("kind", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ReadTimeout, httpx2.ReadError])
def test_no_answer_means_that_the_farm_is_down(kind: type[httpx2.TransportError]) -> None:
    with pytest.raises(FarmDown):
        raises(kind("no")).updates()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_so_does_a_gateways_answer(status: int) -> None:
    with pytest.raises(FarmDown):
        says(status, text="<html>").updates()


@pytest.mark.parametrize(
    "farm",
    [
        says(200, text="<html>"),
        says(200, json=[{"id": 1}]),
        says(500, text="oops"),
        says(302, headers={"Location": "http://elsewhere.example.org"}),
        says(409, headers={"Content-Type": "application/problem+json"}, text="{}"),
    ],
)
def test_what_is_no_farms_answer_is_said_to_be_none(farm: Client) -> None:
    with pytest.raises(PatchfarmError, match="not a farm's"):
        farm.updates()


def test_too_much_at_once_is_said_to_be_too_much() -> None:
    with pytest.raises(BadRequest, match="more than the farm takes"):
        says(413, text="Content Too Large").approve(1, b"x")


def test_a_log_without_its_size_is_no_farms() -> None:
    with pytest.raises(PatchfarmError, match="not a farm's"):
        says(200, content=b"log").log(KEY, 1, 0)


def test_a_download_stops_where_the_file_should_have_ended() -> None:
    into = io.BytesIO()
    with pytest.raises(PatchfarmError, match="other bytes"):
        says(200, content=iter([b"x" * (1 << 20)] * 8)).fetch(file("small", b"y"), into)
    assert len(into.getvalue()) <= 1 << 20
