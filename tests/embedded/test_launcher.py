# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher on a machine that namespaces make for it, with an engine that only says that it is there."""

import os
import subprocess
from pathlib import Path

import pytest

from coordinator.embedded.preparation import CODE

pytestmark = pytest.mark.system

#: As dockerd does: it refuses to start while there is a process with the number in its file, whatever became of that.
DOCKERD = """#!/usr/bin/python3
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ApiVersion": "1.41"}')

    def address_string(self):
        return "somebody"

number = Path("/run/docker.pid")
if number.exists() and Path("/proc", number.read_text().strip()).exists():
    sys.exit("the process is still running")
number.write_text(str(os.getpid()))
Path("/run/docker.sock").unlink(missing_ok=True)
socketserver.UnixStreamServer("/run/docker.sock", Answers).serve_forever()
"""
#: A dockerd that ends, and whose parent never asks what became of it.
SCENE = """
mount -t tmpfs none /run && mount -t tmpfs none /var/log
sh -c '"$0" $1 & echo $! >/run/docker.pid; exec tail -f /dev/null' "$1" "$2" &
until [ -s /run/docker.pid ]; do :; done
"$3" up --help
"""
MACHINE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_an_engine_that_was_killed_comes_back_however_long_it_takes_to_be_gone(tmp_path: Path, seconds: str) -> None:
    dead, here = tmp_path / "dead" / "dockerd", tmp_path / "bin" / "dockerd"
    dead.parent.mkdir()
    dead.symlink_to("/bin/sleep")
    here.parent.mkdir()
    here.write_text(DOCKERD)
    here.chmod(0o755)
    arguments = ("sh", "-c", SCENE, "sh", str(dead), seconds, str(CODE / "patchfarm"))
    environment = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
    environment["PATH"] = f"{here.parent}:{environment['PATH']}"
    done = subprocess.run([*MACHINE, *arguments], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "starting the container engine" in done.stderr
