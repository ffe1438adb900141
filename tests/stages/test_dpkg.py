# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg itself makes of a source is taken for what it is."""

import subprocess
from pathlib import Path

import pytest

from coordinator.model import JobState, Origin, Source
from coordinator.stages import build
from coordinator.work import Judgement
from tests.sources import DATE, Person, as_files, make_source
from tests.stages.test_build import report_of

CHANGELOG = f"""\
hello (1:1.0-1) bookworm-security; urgency=high

  [ Zoë ]
  * Greet naïvely: no more. (Closes: #1, #2)

 -- sam <sam@example.org>  {DATE}
"""


@pytest.mark.system
def test_a_build_by_dpkg_fits_its_papers(tmp_path: Path) -> None:
    paths = make_source(tmp_path, "hello", "1:1.0-1", Person("sam"), changes={"changelog": CHANGELOG})
    commands = (
        ["dpkg-source", "--no-check", "--extract", paths[0].name, "tree"],
        ["env", "--chdir=tree", "dpkg-buildpackage", "--build=any", "--no-sign", "-d"],
        ["env", "--chdir=tree", "dpkg-genchanges", "--build=source", "-sa", "-O../hello_1.0-1_source.changes"],
    )
    for command in commands:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("hello_*") if path not in paths}
    source = Source("hello", "1:1.0-1", ("any",), False, True, True, Origin.UPLOAD, "", tuple(as_files(paths)))
    said = report_of(made)
    assert len(build.papers(said)) == 3
    assert build.judge(said, source, made) == Judgement(JobState.SUCCEEDED, "")
