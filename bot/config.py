"""config.toml and the environment -> one frozen Config; unknown keys are refused with their path and a suggestion.

Every key has a place in config.example.toml. `HEARTH_SECTION__KEY=value` overrides a key, `HEARTH_SECTION__KEY_FILE=path`
reads it from a file (for secrets); other HEARTH_ variables are refused. Everything Hearth writes lies under `Config.data_dir`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    PrivateAttr,
    SecretStr,
    Tag,
    ValidationError,
    model_validator,
)

from bot import local_models
from bot.conversations import Transcripts
from bot.environment import gathered
from bot.errors import ConfigError
from bot.gguf_format import Kind, Pooling, kind_of
from bot.local_models import EMBEDDINGS
from bot.ways_in import (
    ApiConfig,
    DiscordConfig,
    GroupsConfig,
    PermissionsConfig,
    Seconds,
    Section,
    TelegramConfig,
    WebConfig,
    check_url,
)

DEFAULT_SYSTEM_PROMPT = (
    "You are Hearth, a helpful assistant that runs on its owner's own machine. Answer briefly and truthfully, "
    "in the language of the question. If you do not know something, say so."
)
"""Under 300 tokens in every tokenizer, so that a model with a window of 4k has room for the conversation."""

EMBEDDED_CHAT_MODEL = Path(__file__).parent / "assets" / "hearth-demo-chat.gguf"
EMBEDDED_EMBEDDING_MODEL = Path(__file__).parent / "assets" / "hearth-demo-embedding.gguf"
EMBEDDED_SPEECH = "demo"
EMBEDDED_SPEECH_MODEL = Path(__file__).parent / "assets" / "hearth-demo-speech"
MAX_RECORDING = 2**30
"""Bytes: a recording is held in memory while it is decoded."""
MAX_DOCUMENT = 64 * 2**20
"""Bytes: more than any model's window holds, and an order of magnitude less than a database's longest text."""
MAX_SOCKET_PATH = 100
"""A unix socket's path is at most 108 bytes on Linux and 104 on macOS (sun_path)."""

_IN_A_URL = str.maketrans({"%": "%25", "?": "%3F", "#": "%23"})
"""What a URL's path may not hold as it is (RFC 3986, section 3.3)."""
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine."""


class ChatConfig(Section):
    """How conversations are held."""

    answer_within: Seconds = 3600.0
    while_answering: Literal["wait", "interrupt"] = "wait"
    max_tokens: int = Field(default=1024, ge=1)
    max_document_bytes: int = Field(default=256 * 1024, ge=1, le=MAX_DOCUMENT)
    concurrent_conversations: int = Field(default=256, ge=1)
    drain: Seconds = 20.0
    remember_group_talk: bool = False
    transcripts: Transcripts = "always"
    code_file_lines: int = Field(default=0, ge=0)


class PersonaConfig(Section):
    """Who the assistant is: a system prompt, and the sampling that suits it."""

    system: str = DEFAULT_SYSTEM_PROMPT
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    description: str = ""


class AnyModelConfig(Section):
    """What is told of every model, wherever it runs."""

    context_length: int | None = Field(default=None, ge=256)
    slots: int = Field(default=8, ge=1, le=256)
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    description: str = ""
    released: date | None = None
    deprecated: date | None = None


class GpuConfig(Section):
    """How a model folder is run on a GPU, by ExLlamaV2 or ExLlamaV3."""

    library: Literal["auto", "exllamav2", "exllamav3"] = "auto"
    cache_tokens: int | None = Field(default=None, ge=256)
    cache_bits: Literal[16, 8, 6, 4] = 16
    reserve_mib: int = Field(default=2048, ge=0)
    split: tuple[Annotated[float, Field(ge=0)], ...] = ()
    chunk: int = Field(default=512, ge=256, le=8192, multiple_of=256)
    draft_model: Path | None = None
    ngram_draft: bool = False
    draft_tokens: int = Field(default=4, ge=1, le=7)
    loras: tuple[Path, ...] = ()
    step_timeout: Seconds = 120.0
    fallback: Path | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> GpuConfig:
        if self.draft_model is not None and self.ngram_draft:
            raise ValueError("draft_model and ngram_draft exclude each other")
        return self

    @property
    def drafts(self) -> bool:
        """Whether tokens are guessed ahead."""
        return self.draft_model is not None or self.ngram_draft

    @property
    def fallback_model(self) -> Path:
        """The GGUF file that answers where there is no GPU."""
        return self.fallback or EMBEDDED_CHAT_MODEL


class ModelConfig(AnyModelConfig):
    """A model of our own engines."""

    path: Path
    kind: Kind | None = None
    """None: a model for chat. `load` asks the file where the configuration does not say."""
    pooling: Pooling | None = None
    threads: int | None = Field(default=None, ge=1)
    gpu_layers: int = Field(default=0, ge=-1)
    prompt_cache_mib: int = Field(default=256, ge=0)
    gpu: GpuConfig = GpuConfig()

    @model_validator(mode="after")
    def _pools_what_is_embedded(self) -> ModelConfig:
        if self.pooling is not None and self.kind != "embedding":
            raise ValueError('pooling is for a model with kind = "embedding"')
        return self


class RemoteModelConfig(AnyModelConfig):
    """A model on an OpenAI-compatible server, or on several that serve the same one."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    remote_model: str = ""
    api_key: SecretStr = SecretStr("")
    connect_timeout: Seconds = 5.0

    @model_validator(mode="after")
    def _is_whole(self) -> RemoteModelConfig:
        if (self.url is None) == (not self.urls):
            raise ValueError("needs either url, or urls with at least one")
        if len(set(self.servers)) < len(self.servers):
            raise ValueError("urls names a server twice")
        for url in self.servers:
            check_url(url)
        key = self.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError("api_key has characters that no HTTP header may have")
        return self

    @property
    def servers(self) -> tuple[str, ...]:
        """The URLs, without a slash at the end."""
        return tuple(url.rstrip("/") for url in ((self.url,) if self.url is not None else self.urls))

    @property
    def leaves_machine(self) -> bool:
        """Whether what people write goes to another machine."""
        return any((urlsplit(url).hostname or "") not in _HERE for url in self.servers)


class SpeechConfig(Section):
    """What hears voice messages: a Whisper model in the form of CTranslate2."""

    enabled: bool = True
    model: str = EMBEDDED_SPEECH
    translation_model: str = ""
    names: dict[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    compute_type: str = "default"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=1, ge=1, le=64)
    batch_size: int = Field(default=0, ge=0, le=256)
    language: str = ""
    idle_unload: Seconds = 600.0
    max_duration: Seconds = 900.0
    max_bytes: int = Field(default=25 * 2**20, ge=1, le=MAX_RECORDING)
    keep_recordings: bool = False

    @property
    def translator(self) -> str:
        """The model that translates, as `model`."""
        return self.translation_model or self.model

    def path_of(self, name: str) -> str:
        """A model's name, directory or repository, as faster-whisper takes it."""
        return str(EMBEDDED_SPEECH_MODEL) if name == EMBEDDED_SPEECH else os.path.expanduser(name)  # noqa: PTH111 - a repository is no path


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


def _kind(value: object) -> str:
    """Which of the two a table under [models] is: a `url` makes it a remote one."""
    if isinstance(value, Mapping):
        return "remote" if "url" in value or "urls" in value else "own"
    return "remote" if isinstance(value, RemoteModelConfig) else "own"


AModel = Annotated[
    Annotated[ModelConfig, Tag("own")] | Annotated[RemoteModelConfig, Tag("remote")], Discriminator(_kind)
]


class Config(Section):
    """The whole configuration. A re-read makes a new one."""

    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("hearth")))
    chat: ChatConfig = ChatConfig()
    personas: dict[str, PersonaConfig] = Field(default_factory=dict)
    models: dict[str, AModel] = Field(default_factory=dict)
    """The models that chat. Those for embeddings, which stand under [models] too, are `embedding_models`."""
    queue: QueueConfig = QueueConfig()
    speech: SpeechConfig = SpeechConfig()
    engine: EngineConfig = EngineConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    groups: GroupsConfig = GroupsConfig()
    retention: RetentionConfig = RetentionConfig()
    database: DatabaseConfig = DatabaseConfig()
    web: WebConfig = WebConfig()
    api: ApiConfig = ApiConfig()
    telegram: TelegramConfig = TelegramConfig()
    discord: DiscordConfig = DiscordConfig()
    log: LogConfig = LogConfig()
    _embedding_models: dict[str, ModelConfig] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _with_defaults(self) -> Config:
        """There is always a model and a persona called `default`, and a model for embeddings."""
        embedded = ModelConfig(path=EMBEDDED_CHAT_MODEL, temperature=0.0, threads=1, description="embedded demo")
        embedding = {n: m for n, m in self.models.items() if isinstance(m, ModelConfig) and m.kind == "embedding"}
        models = {"default": embedded, **{n: m for n, m in self.models.items() if n not in embedding}}
        if "default" in embedding:
            raise ValueError(
                f"models.default: is a model for embeddings, which cannot chat; call it models.{EMBEDDINGS}"
            )
        if EMBEDDINGS in models:
            raise ValueError(f"models.{EMBEDDINGS}: is a model for chat; this name is for one that makes embeddings")
        demo = ModelConfig(path=EMBEDDED_EMBEDDING_MODEL, kind="embedding", threads=1, description="embedded demo")
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "personas", {"default": PersonaConfig(), **self.personas})
        self._embedding_models = {EMBEDDINGS: demo, **embedding}
        for name, alias in self.api.aliases.items():
            if alias and alias not in {*models, *self._embedding_models}:
                raise ValueError(f"api.aliases.{name}: there is no model {alias!r} under [models]")
        for name, persona in self.personas.items():
            if persona.model in embedding:
                raise ValueError(
                    f"personas.{name}.model: {persona.model!r} is a model for embeddings, which cannot chat"
                )
            if persona.model is not None and persona.model not in self.models:
                raise ValueError(f"personas.{name}.model: there is no model {persona.model!r} under [models]")
        return self

    @property
    def embedding_models(self) -> dict[str, ModelConfig]:
        """The models that place texts in a space, and write none; they run in this process. No face offers them."""
        return self._embedding_models

    @property
    def own_models(self) -> dict[str, ModelConfig]:
        """The models for chat that run in this process."""
        return {alias: model for alias, model in self.models.items() if isinstance(model, ModelConfig)}

    @property
    def database_url(self) -> str:
        """SQLAlchemy's async URL of the database."""
        return self.database.url or f"sqlite+aiosqlite:///{str(self.data_dir / 'hearth.db').translate(_IN_A_URL)}"

    @property
    def shared_database(self) -> bool:
        """Whether several processes may use the database at the same time: one owns a SQLite file."""
        return bool(self.database.url) and not self.database.url.startswith("sqlite")

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

    The models of the data directory are in it, too. Raises ConfigError with the key's path, what is wrong and, for an
    unknown key, the nearest known one.
    """
    data, file = gathered(path, environ, _variables())
    folder, models = data.get("data_dir", platformdirs.user_data_dir("hearth")), data.setdefault("models", {})
    if isinstance(folder, str) and isinstance(models, dict):
        local_models.merge(models, Path(folder))
        _tell_kinds(models)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        where = str(file) if file else "the environment"
        raise ConfigError(f"{where}: " + "; ".join(_explain(item) for item in error.errors())) from error


def _tell_kinds(models: dict[str, Any]) -> None:
    """Write into each table what its model is for, where it does not say and the file is for embeddings."""
    for table in models.values():
        path = table.get("path") if isinstance(table, dict) and "kind" not in table else None
        if isinstance(path, str) and kind_of(Path(path)) == "embedding":
            table["kind"] = "embedding"


def model_tables(path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """What config.toml and the environment themselves say under [models], as it stands there. Raises ConfigError."""
    models = gathered(path, environ, _variables())[0].get("models")
    return models if isinstance(models, dict) else {}


def _variables() -> list[str]:
    """The environment's variables for single keys, but for those of models and personas, which have any names."""
    return [f"HEARTH_{section}__{key}".upper() for section in Config.model_fields for key in _keys_at((section,))]


def _explain(item: Mapping[str, Any]) -> str:
    place: tuple[str | int, ...] = item["loc"]
    kind = ""
    if place[:1] == ("models",) and len(place) > _TAGGED:
        kind = str(place[_TAGGED])
        place = (*place[:_TAGGED], *place[_TAGGED + 1 :])
    path = ".".join(str(part) for part in place)
    if kind == "own" and path.endswith(".path") and item["type"] == "missing":
        return f"{path}: is missing; a model is a file (path) or on a server (url)"
    if item["type"] != "extra_forbidden":
        words = item["msg"].removeprefix("Value error, ")
        return f"{path}: {words}" if path else words
    key = str(place[-1])
    if kind == "remote" and key in ModelConfig.model_fields:
        return f"{path}: is for a model of Hearth's own; this one is on a server (url)"
    if kind == "own" and key in RemoteModelConfig.model_fields:
        return f"{path}: is for a model on a server (url); this one is a file (path)"
    known = list(RemoteModelConfig.model_fields) if kind == "remote" else _keys_at(place[:-1])
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"{path}: unknown key; {hint}"


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at this path may have."""
    section: type[BaseModel] = Config
    parts = iter(path)
    for part in parts:
        if section is Config and part in _NAMED:
            section = _NAMED[str(part)]
            next(parts, None)  # the name
        elif part in section.model_fields:
            inner = section.model_fields[str(part)].annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                section = inner
    return list(section.model_fields)


_TAGGED = 2
"""Where in an error's place under [models] the kind of the model is."""
_NAMED: dict[str, type[BaseModel]] = {"models": ModelConfig, "personas": PersonaConfig}
