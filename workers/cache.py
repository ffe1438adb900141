# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the engine's disk base images and layers may take: what was used longest ago goes first.

Nothing goes that a container stands on, or that was used so lately that an attempt may be about to. Workers that share
an engine share its images, and when each was used last is kept by the engine itself.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import APIError, ImageNotFound

from workers.images import BASES, FORGOTTEN, LAYERS, LEFT_OUT_LABEL, PACKAGES_LABEL
from workers.lock import hold_if_free
from workers.sandbox.docker import engine_errors

#: Seconds between finding an image and a container of it, at the very most.
GRACE: Final = 600.0

_BASE: Final = re.compile(rf"{BASES}:(?P<name>.+)-[0-9a-f]+")
_LAYER: Final = re.compile(rf"{LAYERS}:(?P<name>.+)-(?P<base>[0-9a-f]{{12}})-[0-9a-f]+-[0-9a-f]+")


@dataclass(frozen=True)
class Kept:
    """An image in the engine. Of a layer, `base` is the short id of its base image; of a base image, its own.

    `name` is suite and architecture, `used` seconds since the epoch, `bytes` without the base's where it is a layer.
    One without tags cannot be found any more.
    """

    image: str
    tags: tuple[str, ...]
    name: str
    base: str
    layer: bool
    bytes: int
    used: float
    busy: bool


def surplus(kept: Sequence[Kept], most: int, now: float) -> list[Kept]:
    """What has to go, in this order, until the rest takes at most `most` bytes; pure.

    What nobody can find again goes in any case. Then comes what belongs to base images that have a successor, and then
    what was used longest ago, a base image only after all of its layers.
    """
    bases = sorted((one for one in kept if one.tags and not one.layer), key=lambda one: one.used)
    alive = {one.base for one in bases}
    newest = {one.name: one.base for one in bases}
    gone = [one for one in kept if not _needed(one, now) and not (one.tags and one.base in alive)]
    total = sum(one.bytes for one in kept) - sum(one.bytes for one in gone)
    rest = [one for one in kept if one not in gone]
    used = {one.base: max(other.used for other in rest if other.base == one.base) for one in rest if not one.layer}

    def turn(one: Kept) -> tuple[bool, float, bool]:
        return newest.get(one.name) == one.base, one.used if one.layer else used[one.base], not one.layer

    for one in sorted(rest, key=turn):
        stands = any(other.layer and other.base == one.base and other not in gone for other in kept)
        if total > most and not _needed(one, now) and (one.layer or not stands):
            gone.append(one)
            total -= one.bytes
    return gone


def _needed(one: Kept, now: float) -> bool:
    # In either direction: a clock may have been set.
    return one.busy or abs(now - one.used) < GRACE


class Cache:
    """The images that workers keep in an engine, of which there may be `most` bytes. `home` holds the lock."""

    def __init__(self, client: docker.DockerClient, home: Path, most: int) -> None:
        self._client = client
        self._home = home
        self._most = most

    @engine_errors()
    def collect(self) -> int:
        """Remove what is too much; answers how many bytes that was. Nothing where another process is at it."""
        with hold_if_free(self._home / "cache.lock") as free:
            gone = surplus(self.kept(), self._most, time.time()) if free else []
            return sum(one.bytes for one in gone if self._remove(one))

    @engine_errors()
    def kept(self) -> list[Kept]:
        """Every base image and layer that the engine has."""
        images = [image for image in self._client.api.images() if _tags(image) or _is_lost(image)]
        busy = {str(container["ImageID"]) for container in self._client.api.containers(all=True)}
        sizes = {_short(image): int(image["Size"]) for image in images}
        return [one for image in images if (one := self._one(image, busy, sizes)) is not None]

    def _one(self, image: Mapping[str, Any], busy: set[str], sizes: Mapping[str, int]) -> Kept | None:
        try:
            used = _used(self._client.images.get(str(image["Id"])).attrs)
        except ImageNotFound:
            return None
        tags = _tags(image)
        match = next((found for tag in tags if (found := _LAYER.fullmatch(tag) or _BASE.fullmatch(tag))), None)
        layer = bool(match) and "base" in match.groupdict() if match else bool(_label(image, PACKAGES_LABEL))
        base = match["base"] if match and layer else _short(image)
        size = int(image["Size"]) - (sizes.get(base, 0) if layer and base != _short(image) else 0)
        identity = str(image["Id"])
        return Kept(identity, tags, match["name"] if match else "", base, layer, size, used, identity in busy)

    def _remove(self, one: Kept) -> bool:
        try:
            for name in one.tags or (one.image,):
                self._client.api.remove_image(name)
        except ImageNotFound:
            return True
        except APIError:
            # Somebody has begun to use it.
            return False
        return True


def _tags(image: Mapping[str, Any]) -> tuple[str, ...]:
    tags = image["RepoTags"] or ()
    return tuple(tag for tag in tags if tag.startswith((f"{BASES}:", f"{LAYERS}:")) and tag != FORGOTTEN)


def _is_lost(image: Mapping[str, Any]) -> bool:
    """Whether it was kept under a tag that it lost. A step's image has these labels too, and an attempt."""
    tags = [tag for tag in image["RepoTags"] or () if tag not in ("<none>:<none>", FORGOTTEN)]
    kept = any(_label(image, label) for label in (LEFT_OUT_LABEL, PACKAGES_LABEL))
    return not tags and kept and not _label(image, "patchfarm.attempt")


def _label(image: Mapping[str, Any], name: str) -> str:
    return str((image["Labels"] or {}).get(name, ""))


def _short(image: Mapping[str, Any]) -> str:
    return str(image["Id"]).removeprefix("sha256:")[:12]


def _used(details: Mapping[str, Any]) -> float:
    """When it was last tagged, which is when it was last used; where the engine does not say, when it was made."""
    times = (details["Created"], (details.get("Metadata") or {}).get("LastTagTime") or "")
    return max(_seconds(time) for time in times)


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(re.sub(r"\.\d+", "", stamp)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
