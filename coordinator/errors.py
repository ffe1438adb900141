# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error a person can meet: whose fault it is, what the shell and HTTP say, and the next thing to do.

Raise the most precise class with one sentence; `advice` is the second sentence. No message may hold a secret.
"""

from enum import StrEnum


class Blame(StrEnum):
    """Whose fault it is. Farm faults are retried, package faults are not."""

    SUBMITTER = "submitter"
    PACKAGE = "package"
    FARM = "farm"


class PatchfarmError(Exception):
    """The root: the farm's own fault unless a subclass says otherwise."""

    blame = Blame.FARM
    exit_code = 1
    status = 500
    advice = "Run `patchfarm doctor`; the services' logs are in the farm's folder under `log/`."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if advice is not None:
            self.advice = advice


class BadSource(PatchfarmError):
    """The source package cannot be accepted as it is: truncated, altered, badly named, inconsistent."""

    blame = Blame.SUBMITTER
    exit_code = 10
    status = 422
    advice = "Build the source package again with `dpkg-buildpackage -S`, check it with `dscverify`, and submit that."


class BadSignature(BadSource):
    """Nobody the recipe trusts signed this, or the signature does not fit the bytes."""

    exit_code = 11
    advice = "Sign it with `debsign` using a key in a keyring that the recipe names, and submit it again."


class NotNewer(BadSource):
    """The target archive already has this version or a newer one."""

    exit_code = 12
    status = 409
    advice = "Raise the version in debian/changelog with `dch`, rebuild the source package and submit that."


class UnknownName(PatchfarmError):
    """A suite, architecture, source or update that this farm does not know."""

    blame = Blame.SUBMITTER
    exit_code = 13
    status = 404
    advice = "`patchfarm list` shows the updates, `patchfarm recipes` the suites and their architectures."


class BadRequest(PatchfarmError):
    """The request itself cannot be understood."""

    blame = Blame.SUBMITTER
    exit_code = 2
    status = 400
    advice = "`patchfarm --help` shows what each command takes."


class BadRecipe(PatchfarmError):
    """A recipe file has an unknown key, a wrong type or a contradiction."""

    exit_code = 14
    advice = "Correct the recipe at the place named; recipes/README.md explains every key."


class NotAllowed(PatchfarmError):
    """This person or process may not do that."""

    blame = Blame.SUBMITTER
    exit_code = 15
    status = 403
    advice = "Ask somebody whose role allows it; an approval must come from a person who did not submit the update."


class IllegalMove(PatchfarmError):
    """The update is not in a state where that can happen; the message carries its story so far."""

    blame = Blame.SUBMITTER
    exit_code = 16
    status = 409
    advice = "`patchfarm show N` tells the update's state and what it waits for."


class Fenced(PatchfarmError):
    """An attempt that is no longer the current one: its lease ran out or it was cancelled."""

    exit_code = 17
    status = 409
    advice = "Nothing to do: another attempt has the job."


class PackageFailed(PatchfarmError):
    """The update failed by the package's own doing: it does not build, or its tests fail."""

    blame = Blame.PACKAGE
    exit_code = 20
    status = 409
    advice = "`patchfarm log N ARCH` shows what it printed. Submit a corrected source with a higher version."


class ArchiveUnreachable(PatchfarmError):
    """The archive mirror does not answer, or answers with what its signed Release does not list."""

    exit_code = 30
    status = 503
    advice = "Check the network and the mirror (`patchfarm doctor`), then try again."


class EngineMissing(PatchfarmError):
    """No container engine answers."""

    exit_code = 31
    status = 503
    advice = "Start one, for example with `sudo systemctl start docker`, then `patchfarm doctor`."


class DiskFull(PatchfarmError):
    """No space is left where the farm keeps its state."""

    exit_code = 32
    status = 507
    advice = "Free space on the farm's disk; nothing is lost, the work goes on by itself."


class BrokerDown(PatchfarmError):
    """The broker does not take a message: workers are rung for again when it does."""

    exit_code = 37
    status = 503
    advice = "Nothing is lost. If it lasts, look at the broker's log in the farm's folder under `log/`."


class FarmDown(PatchfarmError):
    """The farm's web service does not answer."""

    exit_code = 33
    status = 503
    advice = "Start the farm with `patchfarm up`."


class SignerRefused(PatchfarmError):
    """The signer looked at the evidence itself and did not sign."""

    exit_code = 34
    status = 409
    advice = "The reason is the signer's own; check the approvals and the signer's policy."


class UploadFailed(PatchfarmError):
    """The target did not take a file, or refused the upload."""

    exit_code = 35
    status = 502
    advice = "Check the target's address, host key and free space, then `patchfarm retry N`."


class HostUnready(PatchfarmError):
    """A host that is to be a worker's cannot be reached, lacks something, or the worker there gave no sign of life."""

    exit_code = 38
    status = 502
    advice = "Correct what is named on the host, then `patchfarm worker add` again."


class StaleUpdate(PatchfarmError):
    """Somebody else changed the update between load and save; the caller loads again."""

    exit_code = 36
    status = 409
    advice = "Try again."
