# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes text of strangers fit for a terminal: what a package, a worker or a server says may never move a cursor.

Pure. A terminal obeys control characters, and some of them change what is on the screen already.
"""

import re

from rich.text import Text

#: ECMA-48 control sequences and strings, whole, so that their letters do not remain as litter.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[P\]X^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
#: Every other control character but tab and newline, and those that turn the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text without anything that a terminal would obey; a carriage return ends a line."""
    ended = re.sub(r"\r+\n?", "\n", text)
    return _CONTROLS.sub("", _SEQUENCES.sub("", ended))


def cell(value: object, style: str = "") -> Text:
    """One line of a table: printable, and never read as rich's own markup."""
    return Text(printable(str(value)).replace("\n", " "), style=style)
