# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking again while the farm does not answer. Only for questions: what changes something is asked once."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from coordinator.cli.session import Session
from coordinator.errors import FarmDown

P = ParamSpec("P")
T = TypeVar("T")

#: For as many seconds, about, a farm that has gone away is waited for.
PATIENCE = 300


def patiently(here: Session, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The answer, even if the farm's web service is started anew meanwhile; raises FarmDown after PATIENCE."""

    def note(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            here.note("The farm does not answer; waiting for it …")

    asking = Retrying(
        retry=retry_if_exception_type(FarmDown),
        wait=wait_fixed(1),
        stop=stop_after_attempt(PATIENCE),
        sleep=here.sleep,
        before_sleep=note,
        reraise=True,
    )
    return asking(question, *args, **kwargs)
