"""Where the configuration comes from: config.toml and the environment, gathered and not yet checked."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from bot.errors import ConfigError

_PLAIN = ("HEARTH_CONFIG", "HEARTH_DATA_DIR")
"""The variables that are no keys of config.toml."""
_OF_A_SERVICE = re.compile(r"HEARTH_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""https://kubernetes.io/docs/tutorials/services/connect-applications-service/: each pod gets these of each service."""


def gathered(path: Path | None, environ: Mapping[str, str], keys: Iterable[str]) -> tuple[dict[str, Any], Path | None]:
    """What the file and the environment say, not yet checked, and the file. Raises ConfigError.

    `path` None: the file that is found. `keys` are the variables that set something, for a hint at a misspelt one.
    """
    file = path or _find(environ)
    data: dict[str, Any] = {}
    if file is not None:
        data = _read_toml(file)
        _resolve_paths(data, file.parent)
    _override(data, environ, keys)
    if folder := environ.get("HEARTH_DATA_DIR"):
        data["data_dir"] = folder
    _resolve_paths(data, Path())
    return data, file


def _find(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("HEARTH_CONFIG"):
        if not Path(named).is_file():
            raise ConfigError(f"{named}: there is no such file (HEARTH_CONFIG names it)")
        return Path(named)
    folder = Path(environ.get("HEARTH_DATA_DIR") or platformdirs.user_data_dir("hearth"))
    candidates = (Path("config.toml"), folder / "config.toml")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}") from error


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Make every path absolute: `~` is the home directory, and what is relative is relative to `folder`."""
    models = data.get("models")
    tables = [value for value in models.values() if isinstance(value, dict)] if isinstance(models, dict) else []
    gpus = [table["gpu"] for table in tables if isinstance(table.get("gpu"), dict)]
    for table, key in [(data, "data_dir"), *((table, "path") for table in tables)]:
        _resolve(table, key, folder)
    for table in gpus:
        for key in ("draft_model", "fallback"):
            _resolve(table, key, folder)
        if isinstance(loras := table.get("loras"), list):
            table["loras"] = [_absolute(path, folder) if isinstance(path, str) else path for path in loras]


def _resolve(table: dict[str, Any], key: str, folder: Path) -> None:
    if isinstance(value := table.get(key), str):
        table[key] = _absolute(value, folder)


def _absolute(path: str, folder: Path) -> str:
    return str((folder / os.path.expanduser(path)).absolute())  # noqa: PTH111 - Path's raises for ~nobody


def _override(data: dict[str, Any], environ: Mapping[str, str], keys: Iterable[str]) -> None:
    for name, value in sorted(environ.items()):
        if not name.startswith("HEARTH_") or name.startswith("HEARTH_TEST_"):  # the tests' own
            continue
        if "__" not in name:
            _check_plain(name, value, keys)
            continue
        *path, key = name.removeprefix("HEARTH_").lower().split("__")
        text = value
        if key.endswith("_file"):
            key = key.removesuffix("_file")
            text = _secret(name, value)
        table = data
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {part} is a value, not a table")
        table[key] = _list_or_text(text)


def _check_plain(name: str, value: str, keys: Iterable[str]) -> None:
    """Raises ConfigError for a variable that sets nothing: most likely it is misspelt."""
    service = _OF_A_SERVICE.fullmatch(name) or (name.endswith("_PORT") and "://" in value)
    if name in _PLAIN or service:
        return
    near = difflib.get_close_matches(name, [*_PLAIN, *keys], n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_PLAIN)} and HEARTH_SECTION__KEY"
    raise ConfigError(f"{name}: unknown variable; {hint}")


def _secret(name: str, file: str) -> str:
    try:
        return Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{name}: {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: {file} is not UTF-8 text") from error


def _list_or_text(text: str) -> object:
    """TOML lists and tables are read as such (`["a", "b"]`); everything else is text that the key's type parses."""
    if text[:1] in {"[", "{"}:
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text
