# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer's folder and its policy: which key has which name, and how many people it takes. Nobody else writes them.

A policy that is not there is made once, with a fresh software key. One that is there is never changed.
"""

import os
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator import gpg
from coordinator.errors import PatchfarmError
from coordinator.openpgp import fingerprint, load_certs

#: The name of the key that is made on first use; the recipes that come with patchfarm ask for it.
FIRST_KEY = "archive"
_ADVICE = "Correct policy.toml in the signer's folder and start the signer again."


@dataclass(frozen=True)
class SignerHome:
    """Where the signer keeps everything; the only place that knows its files' names."""

    root: Path

    @property
    def policy(self) -> Path:
        """The policy, in TOML."""
        return self.root / "policy.toml"

    @property
    def gnupg(self) -> Path:
        """GnuPG's home: the keys, or what leads to them."""
        return self.root / "gnupg"

    @property
    def approvers(self) -> Path:
        """`NAME.asc`: the people who may approve, one file for each."""
        return self.root / "approvers"

    @property
    def audit(self) -> Path:
        """Every signature and every refusal, one JSON object a line."""
        return self.root / "audit.log"

    @property
    def work(self) -> Path:
        """Scratch space."""
        return self.root / "work"

    def certificate(self, key: str) -> Path:
        """The public certificate of the key of that name."""
        return self.root / f"{key}.asc"


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
#: As gpg prints it, or with `!` for that very key and no subkey of it (gpg(1), "How to specify a user ID").
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?!?$")]


class Policy(BaseModel):
    """What the signer asks of an update, whatever the farm says. `keys` are fingerprints by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approvals: int = Field(ge=1, strict=True)
    keys: dict[Name, Fingerprint] = Field(min_length=1)


def load(home: SignerHome) -> Policy:
    """The policy as it is written. Raises PatchfarmError."""
    try:
        return Policy.model_validate(tomllib.loads(home.policy.read_text()))
    except OSError as error:
        raise PatchfarmError(f"{home.policy} cannot be read: {error.strerror}", _ADVICE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PatchfarmError(f"{home.policy} is not TOML: {error}", _ADVICE) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PatchfarmError(f"{home.policy}: {place}: {first['msg']}", _ADVICE) from error


def prepare(home: SignerHome) -> Policy:
    """The policy, made with a fresh key where there is none, and every key's certificate in its file."""
    if not home.policy.exists():
        _begin(home)
    policy = load(home)
    for name, key in policy.keys.items():
        if not _has(home.certificate(name), key):
            _write(home.certificate(name), gpg.export(home.gnupg, key.rstrip("!")), 0o644)
    return policy


def certificates(home: SignerHome, policy: Policy) -> str:
    """The certificates of all its keys, armored: whoever checks its signatures needs them."""
    return "".join(home.certificate(name).read_text() for name in sorted(policy.keys))


def _begin(home: SignerHome) -> None:
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = gpg.make_key(home.gnupg, f"Patchfarm signing key: {FIRST_KEY}")
    gpg.stop(home.gnupg)
    text = (
        "# The signer's own policy. It is read when the signer starts, and written by people alone.\n"
        "# How many people other than the submitter must have signed the digests; a recipe may ask for more.\n"
        "approvals = 2\n\n"
        "# The keys by the names that recipes know them by: fingerprints of keys in gnupg/.\n"
        "[keys]\n"
        f'{FIRST_KEY} = "{key}"\n'
    )
    _write(home.policy, text.encode(), 0o600)


def _has(path: Path, key: str) -> bool:
    return path.exists() and re.sub("!$", "", key).lower() in map(fingerprint, load_certs(path))


def _write(path: Path, data: bytes, mode: int) -> None:
    """There whole or not at all."""
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".", delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(mode)
    Path(file.name).replace(path)
