# SPDX-License-Identifier: GPL-3.0-or-later
"""The real engine: a container is held to its limits, and nothing hostile comes out of it."""

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from tests.workers.kit import LIMITS, ORDER, MemoryFarm, order, tools
from workers import held
from workers.attempt import Attempt
from workers.ending import End
from workers.errors import LetGo
from workers.images import Base
from workers.lease import Lease
from workers.log import AttemptLog
from workers.sandbox import SandboxError, Taken
from workers.sandbox.docker import DockerSandbox
from workers.sandbox.fake import FakeImages, FakeLayers
from workers.steps import label_of, spec_of
from workers.wire.arch import Arch, Tier
from workers.wire.order import Environment, Network, Order, Step, User
from workers.wire.report import Heartbeat, Outcome, Report, Usage

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

Run = Callable[..., tuple[Report, str]]


@pytest.fixture
def run(sandbox: DockerSandbox, base: Callable[[Arch], Base], debian: Environment, tmp_path: Path) -> Run:
    """Run steps in real containers; the report and the log. `lease` replaces the one that lasts for ever."""

    def attempt(*steps: Step, given: Order = ORDER, lease: Lease | None = None) -> tuple[Report, str]:
        given = dataclasses.replace(given, steps=steps, environment=debian)
        lasting = Lease(60, lambda: Heartbeat(False, 60), lambda: End.NOT_YET)
        tier = Tier.NATIVE if given.host in (Arch.AMD64, Arch.I386) else Tier.EMULATED
        with held.take(tmp_path, given, tier) as mine:
            log = AttemptLog(mine.log, given.limits.log_bytes)
            parts = tools(MemoryFarm(), sandbox, FakeImages(base(given.host)), FakeLayers(mirror=""))
            report = Attempt(mine, parts, lease or lasting, log).run()
            sandbox.clear(label_of(given.job, given.attempt))
            return report, log.path.read_text(errors="replace")

    return attempt


def shell(script: str, **more: object) -> Step:
    """A step of one shell script."""
    return dataclasses.replace(Step("script", (("sh", "-c", script),)), **more)  # type: ignore[arg-type]


def test_a_builder_is_nobody_and_keeps_no_capability(run: Run) -> None:
    _, log = run(shell("id -u; pwd; echo HOME=$HOME; grep -E 'Cap(Eff|Bnd|Prm)|NoNewPrivs|Seccomp:' /proc/self/status"))
    words = log.split()
    assert {"1000", "/build/reproducible-path", "HOME=/nonexistent"} <= set(words)
    assert [words[words.index(f"{name}:") + 1] for name in ("CapEff", "CapBnd", "CapPrm")] == ["0" * 16] * 3
    assert [words[words.index(f"{name}:") + 1] for name in ("NoNewPrivs", "Seccomp")] == ["1", "2"]


def test_root_keeps_only_what_was_measured(run: Run) -> None:
    _, log = run(shell("mknod x b 8 0 || echo no-mknod; mount -t tmpfs x /mnt || echo no-mount", user=User.ROOT))
    assert "no-mknod" in log
    assert "no-mount" in log


def test_a_build_has_no_network(run: Run) -> None:
    _, log = run(shell("ls /sys/class/net; apt-get download hello || echo unreachable"))
    assert log.split("== step")[1].split()[-1] == "unreachable"
    assert "eth0" not in log


def test_apt_can_be_made_to_forget_what_the_archive_built_from_a_source(run: Run) -> None:
    hide = "apt-get update && /usr/lib/patchfarm/hide-source.sh cjson"
    search = "apt-cache --names-only search '^(libcjson1|hello)$'"
    report, log = run(shell(f"{hide} && {search}", user=User.ROOT, network=Network.MIRROR))
    assert report.exit_code == 0
    assert "\nhello - " in log
    assert "\nlibcjson1 - " not in log


def test_there_is_no_engine_inside(run: Run) -> None:
    report, _ = run(shell("! test -e /var/run/docker.sock", user=User.ROOT, network=Network.MIRROR))
    assert report.exit_code == 0


def test_a_fork_bomb_is_named_however_fast_it_is(run: Run) -> None:
    limits = dataclasses.replace(LIMITS, processes=64)
    bomb = "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; echo never"
    report, log = run(shell(bomb), given=order(limits=limits))
    assert report.outcome is Outcome.OUT_OF_PROCESSES
    assert "never" not in log.splitlines()


def test_a_full_disk_is_named(run: Run) -> None:
    limits = dataclasses.replace(LIMITS, disk_bytes=64 << 20)
    report, _ = run(shell("dd if=/dev/zero of=x bs=1M count=128; sleep 50"), given=order(limits=limits))
    assert report.outcome is Outcome.OUT_OF_DISK
    assert report.usage.disk_bytes > limits.disk_bytes


@pytest.mark.parametrize("script", ["sleep 600", "exit 1"])
def test_what_ends_on_an_engine_whose_disk_is_full_says_nothing_of_its_package(
    client: docker.DockerClient, sandbox: DockerSandbox, base: Callable[[Arch], Base], script: str
) -> None:
    full = DockerSandbox(client, "testfarm", "w1", lacking=lambda: "3 MiB are free")
    given = order(steps=(Step("write", (("sh", "-c", script),)),))
    container = full.create(spec_of(given, 0, base(Arch.AMD64).image, "testfarm", Tier.NATIVE))
    with pytest.raises(SandboxError, match="disk is full: 3 MiB are free"):
        full.run(container, lambda _: None, lambda _: False)
    assert client.api.wait(container)["StatusCode"] in (1, 137)
    sandbox.remove(container)


def test_running_out_of_memory_is_named(run: Run) -> None:
    limits = dataclasses.replace(LIMITS, memory_bytes=64 << 20)
    report, _ = run(shell("perl -e '$x = \"x\" x (1 << 28); print length $x'"), given=order(limits=limits))
    assert report.outcome is Outcome.OUT_OF_MEMORY


def test_a_log_without_end_is_stopped(run: Run) -> None:
    report, log = run(Step("yes", (("yes",),)))
    assert report.outcome is Outcome.LOG_TOO_LONG
    assert len(log) < LIMITS.log_bytes + 1000


def test_a_step_without_end_is_stopped(run: Run) -> None:
    limits = dataclasses.replace(LIMITS, seconds=2)
    report, _ = run(Step("sleep", (("sleep", "600"),)), given=order(limits=limits))
    assert report.outcome is Outcome.OUT_OF_TIME


def test_a_cancelled_step_is_stopped_within_ten_seconds(run: Run) -> None:
    with Lease(3, lambda: Heartbeat(cancel=True, lease_seconds=3), lambda: End.NOT_YET) as lease:
        report, _ = run(Step("sleep", (("sleep", "600"),)), lease=lease)
    assert report.outcome is Outcome.CANCELLED
    assert report.steps[0].seconds < 10


def test_only_proper_files_come_out(run: Run) -> None:
    make = """
        echo good > good.deb; ln -s /etc/shadow link.deb; mkfifo pipe.deb; mkdir folder.deb tree
        echo x > tree/in.deb; ln good.deb hard.deb; echo x > ' a.deb'; echo x > -rf.deb
        mkdir autopkgtest; ln -s /etc/passwd autopkgtest/summary
    """
    report, log = run(shell(make))
    assert [file.name for file in report.artifacts] == ["good.deb"]
    for name in ("link.deb", "pipe.deb", "folder.deb", "autopkgtest/summary"):
        assert f"not a regular file: {name}" in log


def test_a_folder_that_leads_elsewhere_leads_no_further_than_the_container(run: Run) -> None:
    script = "ln -s /etc autopkgtest; sha256sum /etc/passwd"
    report, log = run(shell(script), given=order(collect=("autopkgtest/passwd",)))
    assert [file.sha256 in log for file in report.artifacts] == [True]


def test_a_file_that_only_looks_small_is_not_read(run: Run) -> None:
    report, _ = run(shell("truncate -s 1T huge.deb"))
    assert report.outcome is Outcome.OUTPUT_TOO_LARGE


def test_what_a_step_makes_is_there_in_the_next_and_the_log_keeps_the_order(run: Run) -> None:
    first = Step("first", (("sh", "-c", "echo out; echo err >&2; echo out; echo made > file"),), User.ROOT)
    report, log = run(first, Step("second", (("cat", "a_1.dsc", "file"),)), Step("third", (("test", "-e", "file"),)))
    assert "out\nerr\nout\n" in log
    assert "Format: 3.0 (quilt)\nmade\n" in log
    assert [step.exit_code for step in report.steps] == [0, 0, 0, 0]


def test_a_second_start_of_a_step_is_refused_by_the_engine(
    sandbox: DockerSandbox, base: Callable[[Arch], Base]
) -> None:
    spec = spec_of(ORDER, 1, base(Arch.AMD64).image, "testfarm", Tier.NATIVE)
    sandbox.create(spec)
    with pytest.raises(Taken):
        sandbox.create(spec)
    assert sandbox.sweep(()) == 1


def test_a_process_that_lets_go_of_a_quiet_container_has_nothing_that_keeps_it(
    sandbox: DockerSandbox, base: Callable[[Arch], Base]
) -> None:
    def let_go(_: Usage) -> bool:
        raise LetGo("the worker ends")

    given = order(steps=(Step("quiet", (("sleep", "600"),)),))
    container = sandbox.create(spec_of(given, 0, base(Arch.AMD64).image, "testfarm", Tier.NATIVE))
    others = set(threading.enumerate())
    for _ in ("who started it", "who adopted it"):
        with pytest.raises(LetGo):
            sandbox.run(container, lambda _: None, let_go)
        for thread in set(threading.enumerate()) - others:
            thread.join(30)
            assert not thread.is_alive()
    sandbox.remove(container)


def test_a_worker_sweeps_only_its_own(sandbox: DockerSandbox, base: Callable[[Arch], Base]) -> None:
    other = DockerSandbox(sandbox._client, "testfarm", "w2")
    container = other.create(spec_of(ORDER, 1, base(Arch.AMD64).image, "testfarm", Tier.NATIVE))
    image = other.commit(container)
    assert sandbox.sweep(()) == 0
    assert other.sweep(()) == 2
    assert image not in {found.id for found in sandbox._client.images.list(all=True)}


@pytest.mark.parametrize(("arch", "machine"), [(Arch.I386, "i686"), (Arch.ARM64, "aarch64")])
def test_another_architectures_step_finds_the_machine_it_expects(run: Run, arch: Arch, machine: str) -> None:
    script = Step("machine", (("uname", "-m"), ("dpkg", "--print-architecture")))
    report, log = run(script, given=order(host=arch))
    assert f"\n{machine}\n" in log
    assert f"\n{arch}\n" in log
    assert report.exit_code == 0


def test_a_long_quiet_step_is_waited_for(run: Run) -> None:
    report, log = run(Step("quiet", (("sleep", "4"), ("echo", "awake"))))
    assert report.exit_code == 0
    assert log.endswith("\nawake\n")
