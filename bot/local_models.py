"""The models of the data directory: which there are, where they came from, and which of them is the default.

    models/NAME/model.json      what NAME is and where its first file lies: here, or where its owner keeps it
    models/NAME/FILE.gguf       its files, if they were pulled or copied
    models/NAME/incoming/       what a pull has so far
    models/default.json         the model that `hearth models use` chose
    models/embedding.json       the one that it chose for embeddings

They need no word in config.toml. What is said there goes first.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import ConfigError, StartError

DEFAULT, EMBEDDINGS = "default", "embedding"
"""What chats where nothing else is chosen, and what makes embeddings then."""
DEMO, DEMO_EMBEDDING = "demo", "demo-embedding"
"""What the embedded models are called where a default is chosen."""
RESERVED = (DEFAULT, EMBEDDINGS, DEMO, DEMO_EMBEDDING)
CARD, INCOMING, LOCK = "model.json", "incoming", ".lock"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""Lower case, because a folder is called so and some file systems do not tell Qwen from qwen."""
_PART = re.compile(r"-\d{5}-of-\d{5}$")


class Entry(BaseModel):
    """A model of the data directory, as its model.json tells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(exclude=True)
    path: Path
    """Of its first file; absolute."""
    files: dict[str, str] = {}
    """The files in the model's folder and their SHA-256 (hex); empty if it lies elsewhere and is left there."""
    source: str = ""
    """The hub and the repository that it came from; empty for a file of this machine."""
    origin: str = ""
    """Where its first file was: its path within the repository, or on this machine if it was copied."""
    revision: str = ""
    """The commit there."""
    licence: str = ""
    """As the hub names it."""
    size: int = 0
    """Bytes, of all files."""
    complete: bool = True
    """Whether it can be used; a pull that broke off is not."""


class _Choice(BaseModel):
    """default.json and embedding.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    path: Path | None = None
    """Where it was when it was chosen: so a model that somebody took away is told by its file."""


def name_for(file: str) -> str:
    """What a model is called if nobody says otherwise: its file's name in lower case, without the part's number."""
    stem = _PART.sub("", Path(file).stem)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:100] or "model"


def size_words(size: int) -> str:
    """`4.7 GB`, as hubs and disks count: 1 GB is 10^9 bytes."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def checked(name: str) -> str:
    """The name. Raises ConfigError if no model of the data directory can be called so."""
    if name in RESERVED:
        raise ConfigError(f"{name!r} is taken: it is what a default is called; choose another name")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a model's name: lower-case letters, digits, '.', '_' and '-', at most 100"
        )
    return name


def folder(data_dir: Path, name: str) -> Path:
    """Where a model's files lie."""
    return data_dir / "models" / name


@contextmanager
def staging(data_dir: Path, name: str) -> Iterator[Path]:
    """Where the files of a model lie until they are known to be one, for this process alone. Raises StartError."""
    place = folder(data_dir, name) / INCOMING
    with _writing(place):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(f"another process is pulling the model {name!r}: wait until it is done") from error
        yield place


def entries(data_dir: Path) -> dict[str, Entry]:
    """Every model by its name, those that are not complete too. Raises ConfigError for a file that cannot be read."""
    cards = sorted((data_dir / "models").glob(f"*/{CARD}"))
    return {card.parent.name: _entry(card) for card in cards}


def save(data_dir: Path, entry: Entry) -> None:
    """Write a model's model.json: whole or not at all. Raises StartError."""
    place = folder(data_dir, entry.name)
    values = entry.model_dump(mode="json")
    if entry.path.is_relative_to(place):
        values["path"] = str(entry.path.relative_to(place))  # so the data directory can be moved
    _write(data_dir, place / CARD, values)


def remove(data_dir: Path, name: str) -> None:
    """Remove a model's folder, and nothing that lies elsewhere. Raises StartError.

    Whoever has not its staging folder takes that first, so that nothing goes from under a pull.
    """
    card = folder(data_dir, name) / CARD
    with _writing(card):
        card.unlink(missing_ok=True)  # first: what is half removed is no model
    shutil.rmtree(folder(data_dir, name), ignore_errors=True)


def chosen(data_dir: Path, what: str = DEFAULT) -> str | None:
    """The name of the model that was chosen as the default, or for EMBEDDINGS; None for the embedded one."""
    choice = _choice(data_dir, what)
    return choice.name if choice else None


def choose(data_dir: Path, name: str | None, path: Path | None = None, *, what: str = DEFAULT) -> None:
    """Make a model the default, or that for EMBEDDINGS, from the next start on; None: the embedded one. Raises StartError."""
    file = _choice_file(data_dir, what)
    if name is None:
        file.unlink(missing_ok=True)
        return
    _write(data_dir, file, {"name": name, "path": str(path) if path else None})


def names_a_model(table: object) -> bool:
    """Whether a table of config.toml says which model it is, and not only how it is to be run."""
    return not isinstance(table, Mapping) or not {"path", "url", "urls"}.isdisjoint(table)


def merge(models: dict[str, Any], data_dir: Path) -> None:
    """Add the models of the data directory, and the chosen defaults, to config.toml's table `models`.

    A table there that names no model of its own adds its settings to the one of its name. Raises ConfigError.
    """
    for entry in entries(data_dir).values():
        if entry.complete and not names_a_model(models.get(entry.name, {})):
            settings = {"path": str(entry.path), "description": entry.source}
            models[entry.name] = {**settings, **models.get(entry.name, {})}
    for what in (DEFAULT, EMBEDDINGS):
        choice = _choice(data_dir, what)
        if choice is None or names_a_model(models.get(what, {})):
            continue
        gone = {"path": str(choice.path)} if choice.path else None
        model = models.get(choice.name, gone)
        if not isinstance(model, Mapping):
            file = _choice_file(data_dir, what)
            raise ConfigError(f"{file}: names the model {choice.name!r}, which there is not any more; remove this file")
        models[what] = {**model, **models.get(what, {})}


def _entry(card: Path) -> Entry:
    values = _read(card)
    if isinstance(values.get("path"), str):
        values["path"] = str(card.parent / values["path"])
    try:
        return Entry(name=card.parent.name, **values)
    except (TypeError, ValidationError) as error:
        raise ConfigError(f"{card}: is damaged; remove its folder and pull the model again") from error


def _choice_file(data_dir: Path, what: str) -> Path:
    return data_dir / "models" / f"{what}.json"


def _choice(data_dir: Path, what: str) -> _Choice | None:
    file = _choice_file(data_dir, what)
    if not file.exists():
        return None
    try:
        return _Choice.model_validate(_read(file))
    except ValidationError as error:
        raise ConfigError(f"{file}: is damaged; remove it, then choose again with `hearth models use`") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {"damaged": True}


def _write(data_dir: Path, file: Path, values: Mapping[str, object]) -> None:
    part = file.with_name(f"{file.name}.part")
    with _writing(file):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as opened:
            json.dump(values, opened, indent=2)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(
            f"{path} cannot be written ({error.strerror}). HEARTH_DATA_DIR chooses another place."
        ) from error
