# SPDX-License-Identifier: GPL-3.0-or-later
"""Wakes the engine when something is in the outbox, so that it need not poll fast. Losing a poke costs a second."""

import time

import redis
import redis.exceptions


class RedisWake:
    """A list with at most one entry that means: look now."""

    def __init__(self, broker: str, farm: str) -> None:
        # kombu writes a socket's address its own way; redis-py knows unix:// and ?db=.
        url = broker.replace("redis+socket://", "unix://").replace("virtual_host=", "db=")
        # A blocking pop outlives redis-py's default read timeout, so there is none.
        self._redis = redis.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=2)
        self._key = f"{farm}:wake"

    def poke(self) -> None:
        """Wake the engine; it looks by itself soon if redis is away."""
        try:
            self._redis.lpush(self._key, "1")
        except redis.exceptions.RedisError:
            return

    def wait(self, seconds: int) -> None:
        """Return at a poke, or after that time."""
        try:
            if self._redis.blpop([self._key], timeout=seconds):
                self._redis.delete(self._key)
        except redis.exceptions.RedisError:
            time.sleep(seconds)
