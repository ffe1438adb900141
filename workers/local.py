# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP over a unix socket, for requests: nobody answers there but who may write in the socket's folder.

That is what makes it the place for a token: a port of the loopback is any local account's, as soon as it is free.
"""

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

#: Connections that are kept, as requests keeps them.
_MOST = 10


class _Connection(HTTPConnection):
    def __init__(self, *arguments: Any, path: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._path = path

    def connect(self) -> None:
        # Kept before it is connected, so that whoever closes the connection closes it.
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """docker's, for its own API, has connections for every path apart."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = _Pool("localhost", maxsize=_MOST, path=path)

    def get_connection_with_tls_context(self, *_: object, **__: object) -> HTTPConnectionPool:
        """Whatever the address and the settings say, it is there."""
        return self._pool

    def close(self) -> None:
        super().close()
        self._pool.close()


def session(path: str) -> requests.Session:
    """One that finds every `http://` address behind that socket, and no proxy that the environment names before it."""
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", _Adapter(path))
    return made
