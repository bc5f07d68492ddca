"""From a repository or a file to a model of the data directory: chosen, fetched, checked, and only then a model."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bot import local_models
from bot.engines import gguf
from bot.errors import HubError, ModelError
from bot.gguf_format import kind_of
from bot.local_models import Entry

if TYPE_CHECKING:
    from bot.hub import Hub, HubFile, Repository

ENDPOINT = "https://huggingface.co"
USUAL = "q4_k_m"
"""The quantisation that is taken where several are offered: llama.cpp's own advice for size against quality."""
RESERVE = 200 * 2**20
"""Bytes that a pull leaves free for the database."""
CHUNK = 4 * 2**20
DIGITS = 12
NO_CHAT = ("mmproj", "imatrix")
"""What also lies in repositories as GGUF: vision projectors, and figures for quantising."""


Seen = Callable[[int], None]
"""Told how many bytes are done."""


class Unclear(HubError):
    """Several models are offered. `candidates` are those to choose from."""

    def __init__(self, words: str, candidates: Sequence[Candidate]) -> None:
        super().__init__(words)
        self.candidates = candidates


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in a repository: one file, or all its parts."""

    repository: Repository
    files: tuple[HubFile, ...]

    @property
    def path(self) -> str:
        """Of its first file, within the repository."""
        return self.files[0].path

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


class Progress(Protocol):
    """Shows how far a long work is."""

    def begin(self, what: str, size: int) -> Seen:
        """Show a work of so many bytes; what is returned is told how many are done."""
        ...


def open_hub(data_dir: Path, environ: Mapping[str, str], pauses: Sequence[float] | None = None) -> Hub:
    """The hub that the environment names; its library writes to the data directory alone and reports to nobody.

    Raises HubError for an address or a proxy that is none.
    """
    endpoint = environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT
    if not re.match(r"https?://[\w.:-]+(/|$)", endpoint):
        raise HubError(f"HF_ENDPOINT is no hub's address: write it as {ENDPOINT}")
    cache = data_dir / "cache" / "huggingface"
    os.environ.update(  # read once, when the library is imported
        HF_HOME=str(cache),
        HF_HUB_CACHE=str(cache / "hub"),
        HF_XET_CACHE=str(cache / "xet"),
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_UPDATE_CHECK="1",
    )
    from bot import hub

    token = environ.get("HF_TOKEN", "").strip() or False
    return hub.Hub(endpoint, token, pauses=hub.PAUSES if pauses is None else pauses)


def candidates(repository: Repository) -> list[Candidate]:
    """The models of a repository, smallest first; of those in parts, only the whole ones."""
    groups: dict[str, list[HubFile]] = {}
    for file in repository.files:
        if file.name.lower().endswith(".gguf") and not any(word in file.name.lower() for word in NO_CHAT):
            part = gguf.PART.fullmatch(file.path)
            groups.setdefault(f"{part['name']} {part['count']}" if part else file.path, []).append(file)
    found = [Candidate(repository, tuple(sorted(files, key=lambda file: file.path))) for files in groups.values()]
    return sorted((one for one in found if _is_whole(one)), key=lambda one: (one.size, one.path))


def _is_whole(candidate: Candidate) -> bool:
    part = gguf.PART.fullmatch(candidate.path)
    return part is None or len(candidate.files) == int(part["count"])


def choose(repository: Repository, wanted: str | None) -> Candidate:
    """The model that is wanted: a file's name, or a part of one such as Q8_0. Raises HubError, Unclear."""
    offered = candidates(repository)
    if not offered:
        raise HubError(f"{repository.id} has no GGUF model in it; such repositories are often called ...-GGUF")
    if wanted is None:
        usual = [one for one in offered if USUAL in one.path.lower()]
        if len(offered) == 1 or len(usual) == 1:
            return offered[0] if len(offered) == 1 else usual[0]
        raise Unclear(f"{repository.id} has {len(offered)} models: hearth models pull {repository.id} FILE", offered)
    for one in offered:
        if any(wanted == file.path for file in one.files):
            return one
    named = [one for one in offered if any(wanted == file.name for file in one.files)]
    near = named or [one for one in offered if wanted.lower() in one.path.lower()]
    if len(near) == 1:
        return near[0]
    if near:
        raise Unclear(f"{wanted!r} fits {len(near)} models of {repository.id}; write more of the name", near)
    raise Unclear(f"{repository.id} has no model {wanted!r}", offered)


def pull(hub: Hub, candidate: Candidate, data_dir: Path, name: str, progress: Progress) -> Entry:
    """Download a model, or go on with a download that broke off.

    Raises HubError, and ModelError with everything removed if it is no model for Hearth; ConfigError, StartError.
    """
    repository = candidate.repository
    entry = Entry(
        name=local_models.checked(name),
        path=local_models.folder(data_dir, name) / candidate.files[0].name,
        files={file.name: file.sha256 for file in candidate.files},
        source=f"{hub.host}/{repository.id}",
        origin=candidate.path,
        revision=repository.revision,
        licence=repository.licence,
        size=candidate.size,
    )
    if without := [file.name for file in candidate.files if not file.sha256]:
        raise HubError(f"{hub.host} names no checksum for {without[0]}; download it by other means, then use its path")
    known = _known(data_dir, entry)
    if known is not None and known.complete and known.files == entry.files and _is_there(known):
        return known
    place = local_models.folder(data_dir, name) / local_models.INCOMING
    parts = {file: place / f"{file.name}.{file.sha256[:DIGITS]}.part" for file in candidate.files}
    with _told(place, " What has come is kept: pull it again"):
        _room(place, candidate.size - sum(part.stat().st_size for part in parts.values() if part.exists()))
        with local_models.staging(data_dir, name):
            if known is None or not known.complete:
                local_models.save(data_dir, entry.model_copy(update={"complete": False}))
            for file, part in parts.items():
                hub.fetch(repository, file, part, progress.begin(file.name, file.size))
                _verify(part, file, hub.host, progress.begin(f"checking {file.name}", file.size))
            for file, part in parts.items():
                part.rename(place / file.name)
            return _accepted(data_dir, entry, known)


def keep(path: Path, data_dir: Path, name: str, progress: Progress, *, copy: bool = False) -> Entry:
    """Make a file that is on this machine a model by name; it stays where it is unless it is to be copied.

    A copy that does not come to its end leaves nothing; of one that was killed stays a model that is not complete.
    Raises ModelError if it is none, HubError, ConfigError, StartError.
    """
    file = _model(path.absolute())
    place = local_models.folder(data_dir, local_models.checked(name))
    sources = (file.path, *file.parts)
    entry = Entry(
        name=name,
        path=place / path.name if copy else file.path,
        files={source.name: "" for source in sources} if copy else {},
        origin=str(file.path) if copy else "",
        licence=file.text("general.license"),
        size=file.size,
    )
    known = _known(data_dir, entry)
    if not copy:
        local_models.save(data_dir, entry)
        return entry
    _room(place, file.size)
    with _told(place), local_models.staging(data_dir, name) as staging:
        try:
            if known is None or not known.complete:
                local_models.save(data_dir, entry.model_copy(update={"complete": False}))
            for source in sources:
                _copy(source, staging / source.name, progress.begin(source.name, source.stat().st_size))
            return _accepted(data_dir, entry, known)
        except BaseException:
            _give_up(data_dir, name, known)
            raise


def _known(data_dir: Path, entry: Entry) -> Entry | None:
    """What there is by this name. Raises HubError if it is another model."""
    known = local_models.entries(data_dir).get(entry.name)
    if known is None:
        return None
    elsewhere = known.origin not in ("", entry.origin)  # a card of before does not tell
    if elsewhere or (known.source, known.path) != (entry.source, entry.path):
        came = "/".join(part for part in (known.source, known.origin) if part) or known.path
        raise HubError(f"there is another model {known.name!r}, {came}: choose a name for this one with --name")
    return known


def _is_there(entry: Entry) -> bool:
    files = [entry.path.with_name(name) for name in entry.files]
    return all(file.exists() for file in files) and sum(file.stat().st_size for file in files) == entry.size


def _room(folder: Path, needed: int) -> None:
    """Raises HubError if the disk has no room for so many bytes."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = max(0, shutil.disk_usage(there).free - RESERVE)
    if needed > free:
        raise HubError(
            f"{local_models.size_words(needed)} are needed and {local_models.size_words(free)} are free in {there}: "
            "make room, or choose another place with HEARTH_DATA_DIR"
        )


def _verify(part: Path, file: HubFile, host: str, seen: Seen) -> None:
    """Raises HubError, with the file gone, if it is not what the hub says; otherwise it is on the disk."""
    digest = hashlib.sha256()
    with part.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            seen(opened.tell())
        os.fsync(opened.fileno())
    if digest.hexdigest() != file.sha256:
        part.unlink()
        raise HubError(f"{file.name} is not the file that {host} tells of: its SHA-256 differs. Removed; pull it again")


def _accepted(data_dir: Path, entry: Entry, before: Entry | None) -> Entry:
    """Make what lies in `incoming` a model. Raises ModelError, with it gone, if it is none."""
    place = local_models.folder(data_dir, entry.name)
    staging = place / local_models.INCOMING
    try:
        _model(staging / entry.path.name)
    except ModelError as error:
        _give_up(data_dir, entry.name, before)
        reason = str(error).partition(": ")[2]
        raise ModelError(f"{entry.path.name} is no model for Hearth and was removed again: it {reason}") from error
    for name in entry.files:
        (staging / name).replace(place / name)
    local_models.save(data_dir, entry)
    shutil.rmtree(staging)
    return entry


def _give_up(data_dir: Path, name: str, before: Entry | None) -> None:
    """Remove what lies in `incoming`, and the model too if it was none before."""
    if before is not None and before.complete:
        shutil.rmtree(local_models.folder(data_dir, name) / local_models.INCOMING, ignore_errors=True)
    else:
        local_models.remove(data_dir, name)


@contextmanager
def _told(place: Path, kept: str = "") -> Iterator[None]:
    """What the system refuses becomes a HubError of one line."""
    try:
        yield
    except OSError as error:
        raise HubError(f"{error.filename or place} cannot be written ({error.strerror}).{kept}") from error


def _model(path: Path) -> gguf.ModelFile:
    """A model that can answer or makes embeddings. Raises ModelError."""
    file = gguf.read(path)
    if kind_of(path) == "chat":
        _ = file.template
    return file


def _copy(source: Path, target: Path, seen: Seen) -> None:
    try:
        with source.open("rb") as opened, target.open("wb") as written:
            while chunk := opened.read(CHUNK):
                written.write(chunk)
                seen(written.tell())
            os.fsync(written.fileno())
    except OSError as error:
        raise HubError(f"{source} cannot be copied ({error.strerror})") from error
