# SPDX-License-Identifier: GPL-3.0-or-later
"""What the history tells of an event: one line, so that the chain of digests covers who and which bytes. Pure."""

import dataclasses

from coordinator.events import Event
from coordinator.model import Approval, File, Job


def describe(event: Event) -> str:
    """Its facts by name; time and state stand in the entry anyway, and the name of a claim says nothing to people."""
    fields = (field.name for field in dataclasses.fields(event) if field.name != "claim")
    told = ((name, _words(getattr(event, name))) for name in fields)
    return ", ".join(f"{name} {words}" for name, words in told if words)


def _words(value: object) -> str:
    match value:
        case str() | int():
            return str(value)
        case Job():
            return f"{value.kind}/{value.arch}"
        case Approval():
            return f"{value.person} {value.fingerprint} {value.digest}"
        case File() if value.name.endswith(".changes"):
            # It names all the others by their digests.
            return f"{value.name} {value.sha256}"
        case tuple():
            return " ".join(filter(None, map(_words, value)))
        case _:
            return ""
