# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm over HTTP: the JSON API for people, workers and the signer, and the embedded archive's files."""

from coordinator.web.application import create_app

__all__ = ["create_app"]
