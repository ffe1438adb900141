# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error leaves as a problem document. What went wrong inside is for the log; the answer never tells it."""

import dataclasses
import errno
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from coordinator.errors import BadRequest, DiskFull, PatchfarmError, UnknownName
from coordinator.problem import MEDIA_TYPE, problem_of
from workers.wire.codec import WireError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def answer(error: PatchfarmError, status: int | None = None) -> JSONResponse:
    """The problem document as a response."""
    problem = problem_of(error)
    shown = problem if status is None else dataclasses.replace(problem, status=status)
    headers = {"WWW-Authenticate": "Bearer"} if shown.status == 401 else None
    return JSONResponse(dataclasses.asdict(shown), shown.status, headers, MEDIA_TYPE)


def register(app: FastAPI) -> None:
    """Make the application answer so."""
    app.add_exception_handler(PatchfarmError, _known)
    app.add_exception_handler(WireError, _wire)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(Exception, _unexpected)


def _known(_request: Request, error: Exception) -> JSONResponse:
    return answer(error if isinstance(error, PatchfarmError) else PatchfarmError("an unexpected error"))


def _wire(_request: Request, error: Exception) -> JSONResponse:
    return answer(BadRequest(f"the body is not what this address takes: {error}"))


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    said = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in found]
    return answer(BadRequest("; ".join(said[:3])[:500]))


def _http(_request: Request, error: Exception) -> JSONResponse:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    if status == 404:
        return answer(UnknownName("there is nothing at this address"))
    return answer(BadRequest(detail), status)


def _gone(_request: Request, _error: Exception) -> JSONResponse:
    return answer(BadRequest("the request ended before its body did"))


def _system(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, OSError) and error.errno in _FULL:
        return answer(DiskFull("there is no space left where the farm keeps its state"))
    raise error


def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    return answer(PatchfarmError("an unexpected error in the farm's web service"))
