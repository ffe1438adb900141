# SPDX-License-Identifier: GPL-3.0-or-later
"""The map as a Mermaid state diagram: `python -m coordinator.diagram` prints what ARCHITECTURE.md shows.

Made from TABLE alone, so that the picture cannot say anything that the table does not.
"""

import sys

from coordinator.model import UpdateState
from coordinator.pipeline import TABLE


def diagram() -> str:
    """The text of the diagram: one arrow per pair of states, labelled with the events that lead along it."""
    arrows: dict[tuple[UpdateState, UpdateState], list[str]] = {}
    for (state, event), move in TABLE.items():
        for to in move.to:
            arrows.setdefault((state, to), []).append(event.__name__)
    ends = [state for state in UpdateState if all(start != state for start, _ in arrows)]
    lines = [
        "stateDiagram-v2",
        f"[*] --> {_name(UpdateState.RECEIVED)}",
        *(
            f"{_name(start)} --> {_name(to)}: {', '.join(events)}"
            for (start, to), events in sorted(arrows.items(), key=_way)
        ),
        *(f"{_name(state)} --> [*]" for state in ends),
    ]
    return "\n    ".join(lines) + "\n"


def _way(arrow: tuple[tuple[UpdateState, UpdateState], list[str]]) -> tuple[int, int]:
    order = list(UpdateState)
    (start, to), _ = arrow
    return order.index(start), order.index(to)


def _name(state: UpdateState) -> str:
    # Mermaid takes no hyphen in the name of a state.
    return state.replace("-", "_")


if __name__ == "__main__":
    sys.stdout.write(diagram())
