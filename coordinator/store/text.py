# SPDX-License-Identifier: GPL-3.0-or-later
"""What text can be kept. Pure."""


def storable(text: str) -> str:
    """The text without what no database holds: NUL and half surrogate pairs, which a hostile sender may put in."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
