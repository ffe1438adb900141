# SPDX-License-Identifier: GPL-3.0-or-later
"""From an order's step to the container it runs in; pure."""

from collections.abc import Sequence

from workers.sandbox import RUN_STEP, Spec
from workers.wire.arch import PERSONALITY, Tier
from workers.wire.order import JobKey, Order, Step


def command_of(step: Step, collect: Sequence[str], personality: str | None) -> tuple[str, ...]:
    """The argv of a step's container, for `run-step.sh`: what to set aside, then each command after its length.

    Counts, not a separator, so that no argument can be taken for one.
    """
    counted = tuple(word for argv in step.run for word in (str(len(argv)), *argv))
    prefix = ("setarch", personality) if personality else ()
    patterns = "" if step.prepares else "\n".join(collect)
    return (*prefix, "/bin/sh", RUN_STEP, patterns, *counted)


def label_of(job: JobKey, attempt: int) -> str:
    """What the containers and images of an attempt are found by."""
    return f"{job}/{attempt}"


def spec_of(order: Order, number: int, image: str, farm: str, tier: Tier) -> Spec:
    """The container of an order's step. A personality is for real 32-bit processors; qemu's uname tells it already."""
    step = order.steps[number]
    job = order.job
    personality = None if tier is Tier.EMULATED else PERSONALITY.get(order.host)
    return Spec(
        name=f"patchfarm-{farm}-{job.update}-{job.kind}-{job.arch}-{order.attempt}-{number}-{step.name}",
        attempt=label_of(job, order.attempt),
        image=image,
        command=command_of(step, order.collect, personality),
        user=step.user,
        network=step.network,
        environment=order.environment,
        limits=order.limits,
        runtime=order.runtime,
    )
