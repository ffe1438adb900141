# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs gpg, and nothing else does: makes clear signatures and, for the signer, keys. Never sees a passphrase.

gpg is asked rather than a library because keys may be on a card, in an HSM or behind an agent. Whether somebody else's
signature is good is not asked here; that is `openpgp`.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coordinator.errors import NotAllowed, PatchfarmError

#: The longest path of a home that always has room for the agent's sockets, the longest of which adds 20 bytes to it:
#: a unix socket's path may have 107 (unix(7)).
_LONGEST_HOME = 87
_LONGEST_SOCKET = 107 - len(".browser")
#: How long gpg may take where nobody has to be asked, in seconds: a card or an HSM may be slow.
SECONDS = 120.0


def clearsign(text: str, key: str | None, home: Path | None, seconds: float | None = None) -> bytes:
    """The text with a signature around it; `key` and `home` are gpg's own defaults unless given. Raises NotAllowed.

    A person who has to type a passphrase is waited for as long as they take; a service gives it `seconds`.
    """
    chosen = [] if key is None else [f"--local-user={key}"]
    return _gpg([*chosen, "--armor", "--digest-algo=SHA512", "--clearsign"], home, text.encode(), seconds)


def make_key(home: Path, user_id: str) -> str:
    """Make a signing key that never expires, with no passphrase because a service uses it; answers its fingerprint."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    unprotected = ["--pinentry-mode=loopback", "--passphrase="]
    made = _gpg(["--status-fd=1", *unprotected, "--quick-generate-key", user_id, "ed25519", "sign", "never"], home)
    return _told(made, "KEY_CREATED", home)


def take(home: Path, certificate: bytes) -> str:
    """Put a certificate into a home, if it is not there; answers its fingerprint."""
    return _told(_gpg(["--status-fd=1", "--import"], home, certificate), "IMPORT_OK", home)


def export(home: Path, fingerprint: str) -> bytes:
    """The certificate, armored."""
    exported = _gpg(["--armor", "--export", fingerprint], home)
    if not exported:
        raise PatchfarmError(f"there is no key {fingerprint} in {home}", "Name one that `gpg --list-keys` shows there.")
    return exported


def stop(home: Path) -> None:
    """End the agent that gpg started for that home; one with a passphrase in it forgets it."""
    with reachable(home) as short:
        _run(["gpgconf", "--homedir", str(short), "--kill", "all"])


def _told(status: bytes, keyword: str, home: Path) -> str:
    """The fingerprint in gpg's status line of that keyword (GnuPG's doc/DETAILS)."""
    for words in map(str.split, status.decode(errors="replace").splitlines()):
        if words[:2] == ["[GNUPG:]", keyword]:
            return words[3].lower()
    raise PatchfarmError(f"gpg did not say {keyword} of a key in {home}")


def _gpg(arguments: Sequence[str], home: Path | None, data: bytes = b"", seconds: float | None = SECONDS) -> bytes:
    # With --batch gpg asks nothing itself; its agent may still ask for a passphrase, which --no-tty would forbid.
    if home is None:
        return _run(["gpg", "--batch", *arguments], data, seconds)
    with reachable(home) as short:
        return _run(["gpg", "--batch", "--homedir", str(short), *arguments], data, seconds)


def _run(argv: Sequence[str], data: bytes = b"", seconds: float | None = SECONDS) -> bytes:
    environment = {**_terminal(), **os.environ}
    try:
        done = subprocess.run(argv, input=data, capture_output=True, env=environment, timeout=seconds)
    except FileNotFoundError as error:
        raise PatchfarmError(f"{argv[0]} is not installed", "Type: sudo apt-get install gnupg") from error
    except subprocess.TimeoutExpired as error:
        raise PatchfarmError(
            f"{argv[0]} did not end within {seconds:.0f} s",
            "Look whether its agent waits for a passphrase, a card or an HSM: a service's key must need nobody.",
        ) from error
    if done.returncode != 0:
        raise NotAllowed(
            f"{argv[0]} failed: {_last_line(done.stderr)}",
            "Name the key with --key, as `gpg --list-secret-keys` shows it, and gpg's folder if it has another.",
        )
    return done.stdout


def _terminal() -> dict[str, str]:
    """Where pinentry may ask: left alone gpg would name the terminal of its input, and that is the text."""
    terminal = next((number for number in (0, 1, 2) if os.isatty(number)), None)
    return {} if terminal is None else {"GPG_TTY": os.ttyname(terminal)}


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines() or ["it does not say why"]
    line = "".join(letter if letter.isprintable() else " " for letter in lines[-1])
    return line.removeprefix("gpg: ")[:300]


@contextmanager
def reachable(home: Path) -> Iterator[Path]:
    """A path for the home that is short enough for its agent's sockets: another name for it, while it is used."""
    home = home.absolute()
    if len(os.fsencode(home)) <= _LONGEST_HOME or _sockets_fit(home):
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="patchfarm-gpg-") as folder:
        short = Path(folder) / "home"
        short.symlink_to(home)
        try:
            yield short
        finally:
            # Its agent would go on looking for keys below a name that is no more.
            _run(["gpgconf", "--homedir", str(short), "--kill", "all"])


def _sockets_fit(home: Path) -> bool:
    """Whether gpg has a place of its own for sockets, below /run/user, as it has where systemd keeps one."""
    return len(_run(["gpgconf", "--homedir", str(home), "--list-dirs", "agent-socket"]).strip()) <= _LONGEST_SOCKET
