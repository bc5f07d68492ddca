"""config.toml and the environment -> one frozen Config; unknown keys are refused with their path and a suggestion.

Every key has a place in config.example.toml. `HEARTH_SECTION__KEY=value` overrides a key, `HEARTH_SECTION__KEY_FILE=path`
reads it from a file (for secrets); other HEARTH_ variables are refused. Everything Hearth writes lies under `Config.data_dir`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bot.errors import ConfigError

DEFAULT_SYSTEM_PROMPT = (
    "You are Hearth, a helpful assistant that runs on its owner's own machine. Answer briefly and truthfully, "
    "in the language of the question. If you do not know something, say so."
)
"""Under 300 tokens in every tokenizer, so that a model with a window of 4k has room for the conversation."""

EMBEDDED_CHAT_MODEL = Path(__file__).parent / "assets" / "hearth-demo-chat.gguf"
MAX_DOCUMENT = 64 * 2**20
"""Bytes: more than any model's window holds, and an order of magnitude less than a database's longest text."""
MAX_SOCKET_PATH = 100
"""A unix socket's path is at most 108 bytes on Linux and 104 on macOS (sun_path)."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_IN_A_URL = str.maketrans({"%": "%25", "?": "%3F", "#": "%23"})
"""What a URL's path may not hold as it is (RFC 3986, section 3.3)."""
_PLAIN = ("HEARTH_CONFIG", "HEARTH_DATA_DIR")
"""The variables that are no keys of config.toml."""
_OF_A_SERVICE = re.compile(r"HEARTH_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""https://kubernetes.io/docs/tutorials/services/connect-applications-service/: each pod gets these of each service."""


def _seconds(value: object) -> object:
    """`"90s"`, `"5m"`, `"1h"`, `"2d"` or a number of seconds."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS[match[2] or "s"]
    if isinstance(value, str | bool):
        raise ValueError(f'{value!r} is no duration; write seconds, or text like "90s", "5m", "1h", "2d"')  # noqa: TRY004 - pydantic reports a ValueError
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A duration in config.toml: seconds as a number, or text like "90s", "5m", "1h", "2d"."""


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChatConfig(Section):
    """How conversations are held."""

    answer_within: Seconds = 3600.0
    while_answering: Literal["wait", "interrupt"] = "wait"
    max_tokens: int = Field(default=1024, ge=1)
    max_document_bytes: int = Field(default=256 * 1024, ge=1, le=MAX_DOCUMENT)
    concurrent_conversations: int = Field(default=256, ge=1)
    drain: Seconds = 20.0
    remember_group_talk: bool = False


class PersonaConfig(Section):
    """Who the assistant is: a system prompt, and the sampling that suits it."""

    system: str = DEFAULT_SYSTEM_PROMPT
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    description: str = ""


class ModelConfig(Section):
    """A model of our own engines."""

    path: Path
    context_length: int | None = Field(default=None, ge=256)
    slots: int = Field(default=8, ge=1, le=256)
    threads: int | None = Field(default=None, ge=1)
    gpu_layers: int = Field(default=0, ge=-1)
    prompt_cache_mib: int = Field(default=256, ge=0)
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    description: str = ""


class QueueConfig(Section):
    """The fair queue before each engine."""

    length: int = Field(default=256, ge=1)
    per_user: int = Field(default=8, ge=1)
    queue_timeout: Seconds = 600.0
    first_token_timeout: Seconds = 120.0
    stall_timeout: Seconds = 60.0
    total_timeout: Seconds = 1800.0


class EngineConfig(Section):
    """What all engines share."""

    loaded_models: int = Field(default=2, ge=1)
    """So many models are in memory at once; the one that was not used for longest makes room."""


class PermissionsConfig(Section):
    """Who may. Entries are `platform:user-id`, `platform:chat/chat-id`, or `platform:*`."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    messages_per_minute: int = Field(default=20, ge=1)
    tokens_per_day: int = Field(default=0, ge=0)


class RetentionConfig(Section):
    """How long conversations are kept, in days; 0 = nothing beyond the answer in progress."""

    days: int = Field(default=30, ge=0)


class DatabaseConfig(Section):
    """Where conversations are kept. Empty: SQLite under the data directory."""

    url: str = ""


class LogConfig(Section):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Section):
    """The whole configuration. A re-read makes a new one."""

    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("hearth")))
    chat: ChatConfig = ChatConfig()
    personas: dict[str, PersonaConfig] = {}
    models: dict[str, ModelConfig] = {}
    queue: QueueConfig = QueueConfig()
    engine: EngineConfig = EngineConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    retention: RetentionConfig = RetentionConfig()
    database: DatabaseConfig = DatabaseConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _with_defaults(self) -> Config:
        """There is always a model and a persona called `default`."""
        embedded = ModelConfig(path=EMBEDDED_CHAT_MODEL, temperature=0.0, threads=1, description="embedded demo")
        object.__setattr__(self, "models", {"default": embedded, **self.models})
        object.__setattr__(self, "personas", {"default": PersonaConfig(), **self.personas})
        for name, persona in self.personas.items():
            if persona.model is not None and persona.model not in self.models:
                raise ValueError(f"personas.{name}.model: there is no model {persona.model!r} under [models]")
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy's async URL of the database."""
        return self.database.url or f"sqlite+aiosqlite:///{str(self.data_dir / 'hearth.db').translate(_IN_A_URL)}"

    @property
    def shared_database(self) -> bool:
        """Whether several processes may use the database at the same time: one owns a SQLite file."""
        return not self.database_url.startswith("sqlite")

    @property
    def socket(self) -> Path:
        """The unix socket on which a running process answers `hearth say`, `hearth chat` and /healthz."""
        return socket_path(self.data_dir, "hearth.sock")


def socket_path(data_dir: Path, name: str) -> Path:
    """`data_dir/run/name`, or a short path that belongs to it where that is too long for a socket."""
    path = data_dir / "run" / name
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"hearth-{os.getuid()}-{digest}" / name


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the configuration. `path` None: `config.toml` in the data directory or here, if there is one.

    Raises ConfigError with the key's path, what is wrong and, for an unknown key, the nearest known one.
    """
    file = path or _find(environ)
    data: dict[str, Any] = {}
    if file is not None:
        data = _read_toml(file)
        _resolve_paths(data, file.parent)
    _override(data, environ)
    if folder := environ.get("HEARTH_DATA_DIR"):
        data["data_dir"] = folder
    _resolve_paths(data, Path())
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        where = str(file) if file else "the environment"
        raise ConfigError(f"{where}: " + "; ".join(_explain(item) for item in error.errors())) from error


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
    for table, key in [(data, "data_dir"), *((table, "path") for table in tables)]:
        if isinstance(value := table.get(key), str):
            table[key] = str((folder / os.path.expanduser(value)).absolute())  # noqa: PTH111 - Path's raises for ~nobody


def _override(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, value in sorted(environ.items()):
        if not name.startswith("HEARTH_") or name.startswith("HEARTH_TEST_"):  # the tests' own
            continue
        if "__" not in name:
            _check_plain(name, value)
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


def _check_plain(name: str, value: str) -> None:
    """Raises ConfigError for a variable that sets nothing: most likely it is misspelt."""
    service = _OF_A_SERVICE.fullmatch(name) or (name.endswith("_PORT") and "://" in value)
    if name in _PLAIN or service:
        return
    keys = [f"HEARTH_{section}__{key}".upper() for section in Config.model_fields for key in _keys_at((section,))]
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


def _explain(item: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return (
            f"{path}: {item['msg'].removeprefix('Value error, ')}"
            if path
            else item["msg"].removeprefix("Value error, ")
        )
    known = _keys_at(item["loc"][:-1])
    near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"{path}: unknown key; {hint}"


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at this path may have."""
    section: type[BaseModel] = Config
    for part in path:
        if section is Config and part in _NAMED:
            section = _NAMED[str(part)]
        elif part in section.model_fields:
            inner = section.model_fields[str(part)].annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                section = inner
    return list(section.model_fields)


_NAMED: dict[str, type[BaseModel]] = {"models": ModelConfig, "personas": PersonaConfig}
