# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the web service together: the API under /api/v1, its description for those with a token, the archive's files."""

from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from coordinator.service import Coordinator
from coordinator.web import errors
from coordinator.web.api import blobs, jobs, signing, suites, updates, workers
from coordinator.web.auth import Anyone, Farm

#: The most that a body which is held in memory may have; a report, a digest set or a piece of a log is far from it.
MAX_BODY = 8 << 20
#: How many uploads are taken at once; more wait their turn.
UPLOADS = 16


class _Area(StaticFiles):
    """One of the archive's folders, which appears with the first update that is published."""

    async def check_config(self) -> None:
        """A folder that is not there yet is empty, not an error."""


def create_app(coordinator: Coordinator, repository: Path | None) -> FastAPI:
    """The application for a farm; `repository` is the embedded archive, whose dists/ and pool/ are for everybody."""
    app = FastAPI(
        title="patchfarm",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        max_body_size=MAX_BODY,
    )
    app.state.coordinator = coordinator
    app.state.uploads = anyio.CapacityLimiter(UPLOADS)
    errors.register(app)
    for noun in (updates, jobs, blobs, signing, workers, suites):
        app.include_router(noun.router, prefix="/api/v1")
    app.add_api_route("/health", health, tags=["health"])
    app.add_api_route("/api/v1/openapi.json", _describer(app), include_in_schema=False)
    if repository is not None:
        for area in ("dists", "pool"):
            app.mount(f"/repository/{area}", _Area(directory=repository / area, check_dir=False))
    return app


def health(farm: Farm) -> dict[str, str]:
    """Whether the service runs and its database answers; needs no token and tells nothing else."""
    farm.store.updates(limit=1)
    return {"status": "ok"}


def _describer(app: FastAPI) -> Any:
    def describe(_who: Anyone) -> dict[str, Any]:
        """The API's description (OpenAPI)."""
        return app.openapi()

    return describe
