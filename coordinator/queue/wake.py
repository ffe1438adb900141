# SPDX-License-Identifier: GPL-3.0-or-later
"""Wakes the engine when something is in the outbox, so that it need not poll fast. Losing a poke costs a second.

A broker that takes a connection and says nothing must not hold up anybody for long: every answer is waited for a few
seconds only, and no command is tried twice.
"""

import time
from collections.abc import Callable

import redis
import redis.backoff
import redis.exceptions
import redis.retry

#: How long an answer of the broker may take, in seconds.
_PATIENCE = 5.0


class RedisWake:
    """A list with at most one entry that means: look now."""

    def __init__(
        self, broker: str, farm: str, patience: float = _PATIENCE, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        # kombu writes a socket's address its own way; redis-py knows unix:// and ?db=.
        url = broker.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
        # A socket file has no network in between that could be watched over.
        network = {} if url.startswith("unix:") else {"socket_keepalive": True}
        once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        timeouts = {"socket_timeout": patience, "socket_connect_timeout": min(patience, 2)}
        self._redis = redis.Redis.from_url(url, retry=once, **timeouts, **network)
        # A blocking pop must end before the socket's own patience does.
        self._longest = patience / 2
        self._key = f"{farm}:wake"
        self._sleep = sleep

    def poke(self) -> None:
        """Wake the engine; it looks by itself soon if redis is away."""
        try:
            with self._redis.pipeline() as both:
                both.lpush(self._key, "1")
                both.ltrim(self._key, 0, 0)
                both.execute()
        except redis.exceptions.RedisError:
            return

    def wait(self, seconds: float) -> None:
        """Return at a poke, or after that time or half of the patience, whichever is less."""
        try:
            if self._redis.blpop([self._key], timeout=min(seconds, self._longest)):
                self._redis.delete(self._key)
        except redis.exceptions.RedisError:
            self._sleep(seconds)
