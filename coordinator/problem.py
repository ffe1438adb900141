# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as they travel: a problem document (RFC 9457) that becomes the same error on the other side.

Nothing but what the error itself says may be in one: no traceback, no path of the server, no request.
"""

from dataclasses import dataclass

from coordinator import errors
from coordinator.errors import Blame, PatchfarmError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """An error in JSON: `detail` is its message, `error` its class in coordinator/errors.py."""

    title: str
    status: int
    detail: str
    blame: Blame
    exit_code: int
    advice: str
    error: str


def problem_of(error: PatchfarmError) -> Problem:
    """The document for an error; a class of somewhere else travels as the nearest that both sides know."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    title = (kind.__doc__ or "").partition("\n")[0]
    return Problem(title, error.status, error.message, error.blame, error.exit_code, error.advice, kind.__name__)


def error_of(problem: Problem) -> PatchfarmError:
    """The error a document stands for; one this side does not know keeps its blame, exit code and status."""
    kind = getattr(errors, problem.error, None)
    if isinstance(kind, type) and issubclass(kind, PatchfarmError):
        return kind(problem.detail, problem.advice)
    unknown = PatchfarmError(problem.detail, problem.advice)
    unknown.blame, unknown.exit_code, unknown.status = problem.blame, problem.exit_code, problem.status
    return unknown
