"""The models by name: loaded on first use, each with its queue, and unloaded when others need the room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import structlog

from bot.api import EmbeddingEngine
from bot.config import AnyModelConfig, ModelConfig, QueueConfig, RemoteModelConfig
from bot.engines import gguf
from bot.engines.embedding import LlamaCppEmbedding
from bot.engines.exllama import weights
from bot.engines.llamacpp import LlamaCppEngine
from bot.engines.remote import Health, Patience, RemoteEngine
from bot.engines.scheduler import Scheduler
from bot.errors import BadRequest, EngineBroken, ModelError, NoGpu
from bot.metrics import Metrics
from bot.ports import ChatEngine, Engine
from bot.prompt import MessageBuilder, PromptBuilder, Prompts, TextPrompts

log = structlog.get_logger(__name__)

Loader = Callable[[str, ModelConfig, Path], Awaitable[ChatEngine]]
"""Alias, configuration and data directory -> the engine. Raises ModelError."""

EmbeddingLoader = Callable[[str, ModelConfig, Path], Awaitable[EmbeddingEngine]]
"""The same for a model that makes embeddings."""

GGUF, FOLDER = ".gguf", "folder"
REMOTE = "on another server"
"""What is told of a model whose description is left out."""
GRACE = 5.0
"""Seconds for which a model that was asked for stays: its prompt is encoded before its ticket is taken."""
PATIENCE = 60.0
"""Seconds that a load waits for the other models' streams to end. A load stops the whole process for its time, so it
waits; but an answer on one model may need another, so it does not wait for ever."""
RETRY_AFTER = 60.0
"""Seconds for which a failed load's error is repeated before the file is tried again. A server is asked each time."""


@runtime_checkable
class Bounded(Protocol):
    """An engine that may answer fewer at once than it was configured for."""

    slots: int


@dataclass(frozen=True)
class Loaded:
    """A model that is ready."""

    engine: Engine
    scheduler: Scheduler
    prompts: Prompts
    config: AnyModelConfig
    texts: TextPrompts | None = None
    """Of a model that continues plain texts; one on a server is given messages alone."""


@dataclass(frozen=True)
class LoadedEmbedding:
    """A model for embeddings that is ready. Who uses it has a ticket, and asks within `QueueTicket.run`."""

    engine: EmbeddingEngine
    scheduler: Scheduler
    texts: TextPrompts
    config: ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """What is to be told of a model."""

    alias: str
    description: str
    loaded: bool
    name: str = ""
    """With the digest, as `ChatEngine.name`; empty while it is not loaded."""
    context_length: int | None = None
    counted_as: str = ""
    """The alias under which its answers and tokens are counted: names of the same model have one."""
    running: int = 0
    waiting: int = 0
    servers: Health | None = None
    """Of a model on servers that is loaded."""
    error: str = ""
    """Why the last load failed; names the file, so it is for the owner alone."""

    @property
    def would_answer(self) -> bool:
        """Whether it is loaded and can be asked now."""
        return self.loaded and (self.servers is None or self.servers.would_answer)


@dataclass
class _Failure:
    error: ModelError
    until: float = field(default_factory=lambda: time.monotonic() + RETRY_AFTER)


_Ready = Loaded | LoadedEmbedding


class Registry:
    """Every configured model.

    `loaders` are by the suffix of the model's path, or FOLDER; llama.cpp has the last word. A model on a server takes no
    memory: it counts for no limit, and no other waits for it. Of folders, which run on a GPU, one is loaded at a time.
    The models for embeddings (`embedding`) are no names of this: they have a limit of their own, so that who chats and
    programs that embed do not take each other's model away all the time.
    """

    def __init__(
        self,
        models: Mapping[str, ModelConfig | RemoteModelConfig],
        queue: QueueConfig,
        data_dir: Path,
        *,
        embedding: Mapping[str, ModelConfig] | None = None,
        loaded_models: int = 2,
        loaders: Mapping[str, Loader] | None = None,
        embedding_loader: EmbeddingLoader = LlamaCppEmbedding.load,
        grace: float = GRACE,
        metrics: Metrics | None = None,
    ) -> None:
        self._models = models
        self._embedding = embedding or {}
        self._all = every = {**models, **self._embedding}
        self._twins = {alias: [other for other in every if every[other] == every[alias]][-1] for alias in every}
        """Names of the same model run in the same way are loaded once: `default` is often another name of one."""
        self._queue = queue
        self._data_dir = data_dir
        self._limit = loaded_models
        self._loaders: dict[str, Loader] = {GGUF: LlamaCppEngine.load, FOLDER: load_folder, **(loaders or {})}
        self._embedding_loader = embedding_loader
        self._grace = grace
        self._metrics = metrics or Metrics()
        self._loaded: dict[str, _Ready] = {}
        self._used: dict[str, float] = {}
        self._failed: dict[str, _Failure] = {}
        self._loading: dict[str, asyncio.Task[_Ready]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._closed = False

    def set_limits(self, queue: QueueConfig) -> None:
        """Change the limits of every queue, from the next to come on."""
        self._queue = queue
        for loaded in self._loaded.values():
            loaded.scheduler.config = queue
            if isinstance(loaded.engine, RemoteEngine):
                loaded.engine.patience = Patience.within(queue)

    def names(self) -> list[str]:
        """The aliases of the models that chat, in the order of the configuration."""
        return list(self._models)

    def describe(self) -> list[ModelState]:
        """Every model that chats and how it is."""
        return [self._state(alias, config) for alias, config in self._models.items()]

    def describe_embedding(self) -> list[ModelState]:
        """Every model for embeddings and how it is."""
        return [self._state(alias, config) for alias, config in self._embedding.items()]

    async def get(self, alias: str) -> Loaded:
        """The model, loaded if it is not.

        Raises BadRequest, which lists the names, for an unknown one, and for one that cannot chat; ModelError for one
        that cannot be loaded; and EngineBroken after aclose().
        """
        if alias in self._embedding:
            raise BadRequest(f"The model {alias!r} makes embeddings; it cannot chat or write.", param="model")
        if alias not in self._models:
            raise BadRequest(f"There is no model {alias!r}. There are: {', '.join(self._models)}.", param="model")
        ready = await self._get(alias)
        assert isinstance(ready, Loaded), alias
        return ready

    async def get_embedding(self, alias: str) -> LoadedEmbedding:
        """A model for embeddings, as `get`; one that chats is refused."""
        if alias in self._models:
            raise BadRequest(f"The model {alias!r} chats; it makes no embeddings.", param="model")
        if alias not in self._embedding:
            raise BadRequest(f"There is no model {alias!r}. There are: {', '.join(self._embedding)}.", param="model")
        ready = await self._get(alias)
        assert isinstance(ready, LoadedEmbedding), alias
        return ready

    async def _get(self, alias: str) -> _Ready:
        if self._closed:
            raise EngineBroken(detail="the models are closed")
        alias = self._twins[alias]
        self._used[alias] = time.monotonic()
        if (loaded := self._loaded.get(alias)) is not None:
            return loaded
        failure = self._failed.get(alias)
        if failure is not None and time.monotonic() < failure.until and isinstance(self._all[alias], ModelConfig):
            raise ModelError(str(failure.error)) from failure.error
        if alias not in self._loading:
            task = asyncio.create_task(self._load(alias), name=f"load {alias}")
            self._loading[alias] = task
            task.add_done_callback(lambda done: self._forget_load(alias, done))
        # Shielded: the load goes on for the others, and for the next, when the one who asked first gives up.
        return await asyncio.shield(self._loading[alias])

    async def aclose(self) -> None:
        """Unload everything; running streams end with EngineError."""
        self._closed = True
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        for alias in list(self._loaded):
            loaded = self._loaded.pop(alias)
            loaded.scheduler.retire()
            await loaded.engine.aclose()

    def _state(self, alias: str, config: ModelConfig | RemoteModelConfig) -> ModelState:
        loaded = self._loaded.get(self._twins[alias])
        failure = self._failed.get(self._twins[alias])
        return ModelState(
            alias=alias,
            description=config.description or (REMOTE if isinstance(config, RemoteModelConfig) else ""),
            loaded=loaded is not None,
            name=loaded.engine.name if loaded else "",
            context_length=loaded.engine.context_length if loaded else config.context_length,
            counted_as=self._twins[alias],
            running=loaded.scheduler.running if loaded else 0,
            waiting=loaded.scheduler.waiting if loaded else 0,
            servers=loaded.engine.health() if loaded and isinstance(loaded.engine, RemoteEngine) else None,
            error=str(failure.error) if failure else "",
        )

    def _forget_load(self, alias: str, task: asyncio.Task[_Ready]) -> None:
        self._loading.pop(alias, None)
        if not task.cancelled():
            task.exception()  # retrieved, for the case that nobody waits any more

    async def _load(self, alias: str) -> _Ready:
        config = self._all[alias]
        async with AsyncExitStack() as pauses:
            try:
                if alias in self._embedding and isinstance(config, ModelConfig):
                    ready: _Ready = await self._open_embedding(alias, config, pauses)
                else:
                    ready = await self._open(alias, config, pauses)
            except ModelError as error:
                self._failed[alias] = _Failure(error)
                log.warning("model not loaded", model=alias, reason=str(error))
                raise
            self._failed.pop(alias, None)
            self._loaded[alias] = ready
            self._used[alias] = time.monotonic()
            return ready

    async def _open(self, alias: str, config: ModelConfig | RemoteModelConfig, pauses: AsyncExitStack) -> Loaded:
        """Raises ModelError."""
        if isinstance(config, RemoteModelConfig):
            remote = await RemoteEngine.load(alias, config, Patience.within(self._queue))
            return Loaded(remote, self._scheduler(remote, config), MessageBuilder(remote), config)
        await pauses.enter_async_context(self._one_at_a_time)
        folder = config.path.is_dir()
        loader = self._loaders.get(FOLDER if folder else config.path.suffix.lower(), self._loaders[GGUF])
        if loader is self._loaders[GGUF]:  # a bad file is to be found before another model makes room for it
            _ = (await asyncio.to_thread(gguf.read, config.path)).template
        elif loader is load_folder:
            (await asyncio.to_thread(weights.look, config.path)).library(config.gpu.library)
        await self._make_room(alias, folder=folder)
        await self._pause_others(pauses)
        engine = await loader(alias, config, self._data_dir)
        try:
            prompts, texts = PromptBuilder(engine), TextPrompts(engine)
        except ModelError:  # nothing can be made of its chat template
            await engine.aclose()
            raise
        return Loaded(engine, self._scheduler(engine, config), prompts, config, texts)

    async def _open_embedding(self, alias: str, config: ModelConfig, pauses: AsyncExitStack) -> LoadedEmbedding:
        """Raises ModelError."""
        await pauses.enter_async_context(self._one_at_a_time)
        await asyncio.to_thread(gguf.read, config.path)  # as above
        await self._make_room(alias, folder=False)
        await self._pause_others(pauses)
        engine = await self._embedding_loader(alias, config, self._data_dir)
        try:
            texts = TextPrompts(engine)
        except ModelError:
            await engine.aclose()
            raise
        return LoadedEmbedding(engine, self._scheduler(engine, config), texts, config)

    def _scheduler(self, engine: Engine | EmbeddingEngine, config: AnyModelConfig) -> Scheduler:
        slots = min(config.slots, engine.slots) if isinstance(engine, Bounded) else config.slots
        return Scheduler(engine, self._queue, slots=slots, metrics=self._metrics)

    async def _pause_others(self, pauses: AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                for other in list(self._loaded.values()):
                    await pauses.enter_async_context(other.scheduler.paused())
        except TimeoutError:
            log.warning("loading a model while others answer; they will stand still meanwhile")

    async def _make_room(self, alias: str, *, folder: bool) -> None:
        """Unload the models that were not used for longest, once they are idle."""
        embeds = alias in self._embedding
        while in_the_way := self._in_the_way(folder=folder, embeds=embeds):
            oldest = min(in_the_way, key=lambda name: self._used[name])
            loaded = self._loaded[oldest]
            await asyncio.sleep(max(0.0, self._used[oldest] + self._grace - time.monotonic()))
            with suppress(TimeoutError):  # if it is never idle, who waits for it must give way
                async with asyncio.timeout(PATIENCE):
                    await loaded.scheduler.idle()
                    if time.monotonic() - self._used[oldest] < self._grace:
                        continue  # asked for again meanwhile: look for another
            async with loaded.scheduler.paused():
                del self._loaded[oldest]
                loaded.scheduler.retire()
                await loaded.engine.aclose()
            log.info("model unloaded", model=oldest)

    def _in_the_way(self, *, folder: bool, embeds: bool) -> list[str]:
        """The loaded models of which one has to go: all of them at the limit, and what is on the GPU for another there."""
        same_kind = [alias for alias in self._loaded if (alias in self._embedding) == embeds]
        own = {alias: model for alias in same_kind if isinstance(model := self._all[alias], ModelConfig)}
        on_the_gpu = [alias for alias, model in own.items() if folder and model.path.is_dir()]
        return on_the_gpu or (list(own) if len(own) >= self._limit else [])


async def load_folder(alias: str, config: ModelConfig, data_dir: Path) -> ChatEngine:
    """A model folder on the GPU; where there is none, the GGUF file that is to answer instead. Raises ModelError."""
    from bot.engines.exllama.engine import ExllamaEngine

    try:
        return await ExllamaEngine.load(alias, config)
    except NoGpu as error:
        instead = config.gpu.fallback_model
        log.warning(
            "no GPU for this model: another answers on the CPU", model=alias, reason=str(error), file=str(instead)
        )
        return await LlamaCppEngine.load(alias, config.model_copy(update={"path": instead}), data_dir)
