# SPDX-License-Identifier: GPL-3.0-or-later
"""How both sides use Celery, so that they cannot drift apart. A message only rings; it must never carry work."""

#: The one task there is; its arguments say for which job and attempt it was rung, and are for the logs alone.
TASK = "patchfarm.work"


def queue_of(worker: str) -> str:
    """The Celery queue that rings for a worker."""
    return f"bell.{worker}"


def settings(broker: str, farm: str) -> dict[str, object]:
    """Celery's configuration for the broker at a URL, `redis://…` or `redis+socket:///path?virtual_host=0`.

    `farm` keeps farms that share one Redis apart. A message is acknowledged before its work begins and never
    delivered again: a lost one is rung again by the coordinator, whose lease tells who has the job.
    """
    return {
        "broker_url": broker,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "global_keyprefix": f"{farm}:",
            "visibility_timeout": 3600,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "health_check_interval": 25,
        },
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # Else anybody who can write to the broker could end workers and their attempts.
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        "enable_utc": True,
    }
