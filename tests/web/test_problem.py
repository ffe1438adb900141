# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors travel whole."""

import pytest

from coordinator import errors
from coordinator.errors import Blame, PatchfarmError
from coordinator.problem import Problem, error_of, problem_of
from coordinator.web.auth import NoToken

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PatchfarmError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_comes_back_as_itself(kind: type[PatchfarmError]) -> None:
    again = error_of(problem_of(kind("said", "Do this.")))
    assert (type(again), again.message, again.advice) == (kind, "said", "Do this.")


def test_an_error_that_the_other_side_cannot_know_comes_as_its_nearest() -> None:
    assert problem_of(NoToken("none")).error == "NotAllowed"


@pytest.mark.parametrize("name", ["FromTheFuture", "StrEnum", "__builtins__", ""])
def test_an_unknown_error_keeps_its_blame_and_exit_code(name: str) -> None:
    again = error_of(Problem("t", 418, "said", Blame.PACKAGE, 77, "Do this.", name))
    assert (type(again), again.blame, again.exit_code, again.status) == (PatchfarmError, Blame.PACKAGE, 77, 418)
