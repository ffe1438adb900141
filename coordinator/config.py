# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm's settings: defaults.toml < `farm.toml` in the home < PATCHFARM_* in the environment.

Secrets are files under `secrets/`, opened where they are used, and no settings: but for a broker's password, which has
no place outside its URL.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from workers.wire.arch import Arch

DEFAULTS = Path(__file__).with_name("defaults.toml")
RECIPES = Path(__file__).parent.parent / "recipes"


def default_home() -> Path:
    """PATCHFARM_HOME, or the XDG state folder."""
    named = os.environ.get("PATCHFARM_HOME")
    return Path(named).absolute() if named else Path(platformdirs.user_state_dir("patchfarm"))


@dataclass(frozen=True)
class Home:
    """Where an embedded farm keeps everything; the only place that knows its folders' names."""

    root: Path

    @property
    def settings(self) -> Path:
        """`farm.toml`, written on the first start with what had to be chosen (port, farm id)."""
        return self.root / "farm.toml"

    @property
    def database(self) -> Path:
        """SQLite."""
        return self.root / "farm.sqlite3"

    @property
    def blobs(self) -> Path:
        """Files by sha256."""
        return self.root / "blobs"

    @property
    def attempts(self) -> Path:
        """Logs of attempts."""
        return self.root / "attempts"

    @property
    def log(self) -> Path:
        """Logs of the services."""
        return self.root / "log"

    @property
    def run(self) -> Path:
        """Sockets and process ids."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Tokens and the upload key; mode 700."""
        return self.root / "secrets"

    @property
    def keyrings(self) -> Path:
        """`<name>.asc` or `<name>.pgp`, or a folder `<name>/` of them: what recipes name."""
        return self.root / "keyrings"

    @property
    def people(self) -> Path:
        """`<name>.asc`: certificates of those who may approve."""
        return self.root / "people"

    @property
    def signer(self) -> Path:
        """The signer's own: GnuPG home, policy, pinned certificates. Nothing but the signer reads it."""
        return self.root / "signer"

    @property
    def target(self) -> Path:
        """The embedded archive: sshd's configuration, incoming queue, reprepro's repository."""
        return self.root / "target"

    @property
    def indices(self) -> Path:
        """Archives' indices by sha256; a cache."""
        return self.root / "indices"

    @property
    def redis(self) -> Path:
        """The embedded broker's append-only file; nothing is missed if it is wiped."""
        return self.root / "redis"

    @property
    def hosts(self) -> Path:
        """`<worker>.json`: hosts that workers were added on; their pinned keys; how their tunnels are held."""
        return self.root / "hosts"

    @property
    def worker(self) -> Path:
        """The embedded worker's scratch space and image cache."""
        return self.root / "worker"


class TargetSettings(BaseModel):
    """An archive that updates are published to: an SFTP incoming queue, and where its index can be read.

    Not settings of their own: else an empty `user` would be what the environment calls USER.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = 22
    user: str = ""
    incoming: str = "incoming"
    identity: Path | None = None
    known_hosts: Path | None = None
    url: str = ""
    keyring: Path | None = None


class Settings(BaseSettings):
    """Every setting there is; defaults.toml explains each."""

    model_config = SettingsConfigDict(env_prefix="PATCHFARM_", env_nested_delimiter="__", extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home)
    farm: str = "farm"
    listen: str = "127.0.0.1:0"
    url: str = ""
    database: str = ""
    broker: str = ""
    mirror: str = ""
    security_mirror: str = ""
    recipes: Path = RECIPES
    lease_seconds: int
    ring_again_seconds: int
    confirm_seconds: int
    look_seconds: int
    unused_days: int = Field(ge=1)
    slots: int
    arches: Annotated[tuple[Arch, ...], NoDecode] = ()
    targets: dict[str, TargetSettings] = {}

    @field_validator("arches", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """The environment has a list as words with commas between them, as a worker's has it; TOML has lists."""
        if not isinstance(given, str):
            return given
        return [word.strip() for word in given.split(",") if word.strip()]

    @property
    def paths(self) -> Home:
        """The home's folders."""
        return Home(self.home)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the base class passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # and this
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of precedence: what is given here, then the environment, the home's file, the defaults."""
        own = Home(Path(init_settings().get("home", default_home()))).settings
        files = (_toml(settings_cls, own), _toml(settings_cls, DEFAULTS))
        return init_settings, env_settings, *files


def _toml(settings: type[BaseSettings], path: Path) -> TomlConfigSettingsSource:
    try:
        return TomlConfigSettingsSource(settings, path)
    except UnicodeDecodeError as error:
        raise tomllib.TOMLDecodeError(str(error)) from error


def load() -> Settings:
    """The settings as they are now."""
    return Settings()  # type: ignore[call-arg]  # the sources fill it
