"""A model hub (huggingface.co, or what HF_ENDPOINT names): what a repository holds, and its files.

huggingface_hub finds the repository and knows the hub's errors; it sees to proxies and HF_HUB_OFFLINE. Its own download
throws away what a broken connection left (https://github.com/huggingface/huggingface_hub/issues/4196), so the bytes are
read here, on from where the file ends. It must not be imported before `bot.pulling.hub` has told it where to write.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, close_session, errors, get_session, hf_hub_url
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from bot.errors import HubError

SECONDS = 20.0
"""To connect, and between two pieces of an answer."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before a download that broke off goes on; after as many in a row without a byte it is given up."""
IN_PASSING = frozenset({408, 500, 502, 503, 504})
"""What a hub answers where another try may help. Not 429: it wants longer waits than anybody looks at."""
HIDDEN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
"""A hub does not tell who may not read a repository whether there is one."""
KEPT = "What has come is kept: try again later"
LOCAL = "a file that is on this machine needs no hub: hearth models use PATH"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    path: str
    """Within the repository."""
    size: int
    """Bytes."""
    sha256: str
    """Hex; empty if the hub names none."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository as it was at one commit."""

    id: str
    revision: str
    """The commit, so that all files are of the same time."""
    files: tuple[HubFile, ...]
    licence: str = ""


_SHA256 = re.compile(r"[0-9a-f]{64}")


class _BrokeOff(Exception):
    """The answer ended before the file did."""


class Hub:
    """A hub. `token` False: none is sent. Raises HubError if the environment's proxy is of no use."""

    def __init__(self, endpoint: str, token: str | bool, *, pauses: Sequence[float] = PAUSES) -> None:
        self.endpoint = endpoint
        self.host = urlsplit(endpoint).netloc
        self._token = token
        self._pauses = pauses
        try:
            get_session()
        except (ImportError, ValueError) as error:
            raise HubError(f"the proxy that the environment names cannot be used ({_line(error)})") from error

    def look(self, repository: str, revision: str = "main") -> Repository:
        """What a repository holds. Raises HubError."""
        api = HfApi(endpoint=self.endpoint, token=self._token)
        with self._translated(repository, "Try again later"):
            info = api.model_info(repository, revision=revision, files_metadata=True, timeout=SECONDS)
            licence = str((info.card_data and info.card_data.license) or "")
            return Repository(
                id=info.id,
                revision=info.sha or revision,
                files=tuple(_file(file) for file in info.siblings or () if file.rfilename.isprintable()),
                licence=licence if licence.isprintable() else "",
            )

    def fetch(self, repository: Repository, file: HubFile, part: Path, seen: Callable[[int], None]) -> None:
        """Write a file to `part`, on from where that ends; `seen` is told how many bytes are there.

        Raises HubError; what came so far stays there.
        """
        url = hf_hub_url(repository.id, file.path, revision=repository.revision, endpoint=self.endpoint)
        with self._translated(repository.id, KEPT), part.open("ab") as target:
            seen(target.tell())
            pauses = list(self._pauses)
            while (before := target.tell()) != file.size:
                try:
                    self._read(url, file, target, seen)
                except (_BrokeOff, httpx2.RequestError, errors.HfHubHTTPError) as error:
                    if target.tell() > before:
                        pauses = list(self._pauses)
                    if not pauses or (isinstance(error, errors.HfHubHTTPError) and _status(error) not in IN_PASSING):
                        raise
                    time.sleep(pauses.pop(0))

    def close(self) -> None:
        """Close the connections."""
        close_session()

    def _read(self, url: str, file: HubFile, target: BinaryIO, seen: Callable[[int], None]) -> None:
        if target.tell() > file.size:
            _empty(target)
        headers = build_hf_headers(token=self._token, library_name="hearth") | {"Accept-Encoding": "identity"}
        if at := target.tell():
            headers["Range"] = f"bytes={at}-"
        with get_session().stream("GET", url, headers=headers, timeout=SECONDS) as response:
            hf_raise_for_status(response)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                _empty(target)
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                raise HubError(f"{self.host} sends another part of {file.name} than it was asked for; try again later")
            for chunk in response.iter_raw():
                target.write(chunk)
                if target.tell() > file.size:
                    _empty(target)
                    raise HubError(f"{self.host} sends more of {file.name} than its {file.size} bytes; try again later")
                seen(target.tell())
        if target.tell() < file.size:
            raise _BrokeOff(f"{target.tell()} of {file.size} bytes came")

    @contextmanager
    def _translated(self, repository: str, advice: str) -> Iterator[None]:
        """Every error becomes a HubError of one line; `advice` is for those that may pass."""
        try:
            yield
        except errors.OfflineModeIsEnabled as error:
            raise HubError(f"HF_HUB_OFFLINE is set, so {self.host} is not asked; {LOCAL}") from error
        except errors.HFValidationError as error:
            raise HubError(f"{repository!r} is no repository: write OWNER/NAME, or the path of a file here") from error
        except errors.HfHubHTTPError as error:
            raise HubError(self._refusal(error, repository, advice)) from error
        except (_BrokeOff, httpx2.RequestError, httpx2.InvalidURL) as error:
            raise HubError(f"{self.host} cannot be reached ({_line(error)}). {advice}; {LOCAL}") from error
        except OSError as error:
            raise HubError(
                f"{error.filename or 'the download'} cannot be written ({error.strerror}). {advice}"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # no JSON, or other JSON than a hub's
            raise HubError(f"{self.host} does not answer as a model hub does; is HF_ENDPOINT right?") from error

    def _refusal(self, error: errors.HfHubHTTPError, repository: str, advice: str) -> str:
        status = _status(error)
        if isinstance(error, errors.GatedRepoError):
            page = f"{self.endpoint}/{repository}"
            return f"{repository} is gated: accept its conditions at {page}, then set HF_TOKEN to a token of yours"
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{repository} has no such revision"
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return f"{repository} has no such file any more; try again"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            wait = error.response.headers.get("Retry-After", "")
            when = f"in {wait} s" if wait.isdecimal() else "in some minutes"
            return f"{self.host} has had too many requests from here; try again {when}"
        if isinstance(error, errors.RepositoryNotFoundError) or status in HIDDEN:
            why = "HF_TOKEN may not read it" if self._token else "it is private: then set HF_TOKEN"
            return f"there is no repository {repository} at {self.host}, or {why}"
        return f"{self.host} answers {status}. {advice}"


def _file(found: RepoSibling) -> HubFile:
    digest = found.lfs.sha256 if found.lfs else ""
    return HubFile(found.rfilename, found.size or 0, digest if _SHA256.fullmatch(digest) else "")


def _status(error: errors.HfHubHTTPError) -> int:
    return error.response.status_code


def _empty(target: BinaryIO) -> None:
    target.seek(0)
    target.truncate()


def _line(error: Exception) -> str:
    """The first line of an error's words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
