# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at what waits, and an answer to each: signed, refused, or later. Holds no request in memory between looks.

Refused is what was looked at and is not right; later comes everything else that goes wrong, which is the farm's own
trouble or the signer's, and no fault of the update.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from coordinator.client import Client
from coordinator.dsc import MAX_BYTES
from coordinator.errors import BadSource, FarmDown, IllegalMove, PatchfarmError, SignerRefused
from coordinator.model import File, SigningRequest, Update
from coordinator.openpgp import SequoiaVerifier
from coordinator.signer import approvers, audit, evidence, upload
from coordinator.signer.evidence import Evidence
from coordinator.signer.policy import Policy, SignerHome

_LOG = logging.getLogger(__name__)

#: The longest time to leave alone what could not be answered, in seconds.
_LONGEST_PAUSE = 300.0
#: The only errors that say something about the update.
_VERDICTS = (SignerRefused, BadSource)
#: The most of a reason that the farm takes.
_REASON = 4000


class Signer:
    """The signer of one farm. `now` is in seconds, and only ever grows."""

    def __init__(
        self,
        farm: Client,
        home: SignerHome,
        policy: Policy,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._farm, self._home, self._policy, self._now, self._sleep = farm, home, policy, now, sleep
        self._verifier = SequoiaVerifier()
        #: By update: how often it could not be answered, and when to try again.
        self._later: dict[int, tuple[int, float]] = {}
        # What a killed process left.
        shutil.rmtree(home.work, ignore_errors=True)

    def look(self) -> None:
        """Answer everything that waits. Raises PatchfarmError where the farm does not say what does."""
        waiting = self._farm.signing_requests()
        self._later = {request.update.id: self._later.get(request.update.id, (0, 0.0)) for request in waiting}
        for request in waiting:
            if self._later[request.update.id][1] <= self._now():
                self._answer(request)

    def _answer(self, request: SigningRequest) -> None:
        number = request.update.id
        try:
            self._sign_or_refuse(request)
        except IllegalMove:
            _LOG.info("action=moved-on update=%s", number)
        except (PatchfarmError, OSError) as error:
            _LOG.warning("action=later update=%s reason=%s", number, error)
        except Exception:  # noqa: BLE001  # the process's edge: what is wrong with one must not keep the others waiting
            _LOG.exception("action=later update=%s", number)
        else:
            return
        tried = self._later[number][0]
        self._later[number] = tried + 1, self._now() + min(2.0 ** min(tried, 10), _LONGEST_PAUSE)

    def _sign_or_refuse(self, request: SigningRequest) -> None:
        update = request.update
        self._home.work.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._home.work) as name:
            try:
                found, made = self._sign(request, Path(name))
            except _VERDICTS as error:
                _LOG.warning("action=refuse update=%s reason=%s", update.id, error.message)
                audit.refused(self._home.audit, datetime.now(UTC), update, error.message)
                self._farm.refused(update.id, error.message[:_REASON])
            else:
                # What the farm says to it is no verdict of the signer's.
                self._hand_in(update, Path(name), found, made)

    def _sign(self, request: SigningRequest, folder: Path) -> tuple[Evidence, tuple[File, ...]]:
        """What was found good, and the signed files in the folder. Raises one of _VERDICTS where it is not."""
        update = request.update
        evidence.check_facts(update)
        self._fetch(update.source.dsc, folder / update.source.dsc.name)
        found = self._check(request, (folder / update.source.dsc.name).read_bytes())
        for file in evidence.shipped(update)[1:]:
            self._fetch(file, folder / file.name)
        seal = upload.Seal(found.key, self._home.gnupg, self._home.certificate(request.key), self._verifier)
        return found, upload.make(update, folder, self._built_changes(update, folder), seal)

    def _check(self, request: SigningRequest, dsc: bytes) -> Evidence:
        known = approvers.load(self._home.approvers)
        approvals = [approval.signature.encode() for approval in request.update.approvals]
        # Who made the source is in the source; the farm's word for it would be worth nothing.
        authors = {statement.person for statement in approvers.statements([dsc], known.people, self._verifier)}
        agreed = approvers.statements(approvals, known.people, self._verifier)
        try:
            return evidence.check(request, self._policy, known.people, agreed, authors)
        except SignerRefused as error:
            if not known.unread:
                raise
            # It might be enough, were they readable: that is for whoever looks after the certificates, not the update.
            unread = ", ".join(known.unread)
            raise PatchfarmError(f"{error.message}; the certificates of {unread} cannot be read") from error

    def _built_changes(self, update: Update, folder: Path) -> list[bytes]:
        texts = []
        for file in update.built_files():
            if file.name.endswith(".changes"):
                if file.size > MAX_BYTES:
                    raise SignerRefused(f"{file.name} has {file.size} bytes; {MAX_BYTES} is the most that is read")
                path = folder / f"{file.sha256}.built"
                self._fetch(file, path)
                texts.append(path.read_bytes())
        return texts

    def _hand_in(self, update: Update, folder: Path, found: Evidence, made: Sequence[File]) -> None:
        before = {file.name: file for file in evidence.shipped(update)}
        changed = [(before.get(file.name), file) for file in made if before.get(file.name) != file]
        audit.signed(self._home.audit, datetime.now(UTC), update, found, changed)
        for _, file in changed:
            self._patiently()(self._farm.store, file, folder / file.name)
        self._farm.signed(update.id, made)
        _LOG.info("action=signed update=%s people=%s key=%s", update.id, ",".join(found.people), found.key)

    def _fetch(self, file: File, path: Path) -> None:
        def fetch() -> None:
            with path.open("wb") as into:
                self._farm.fetch(file, into)

        self._patiently()(fetch)

    def _patiently(self) -> Retrying:
        """For steps that may be repeated: one cut connection need not cost all that was transferred before."""
        return Retrying(
            sleep=self._sleep,
            stop=stop_after_attempt(3),
            wait=wait_exponential(max=10),
            retry=retry_if_exception_type(FarmDown),
            reraise=True,
        )
