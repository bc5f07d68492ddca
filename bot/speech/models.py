"""The speech models by name: loaded on first use, counted while in use, unloaded when nobody has used them for a while."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from bot.config import SpeechConfig
from bot.errors import EngineBroken, EngineError, ModelError
from bot.speech import download, whisper
from bot.transcription import Audio, Detected, Segment, TranscribeOptions

log = structlog.get_logger(__name__)

Load = Callable[[str, SpeechConfig, Path], whisper.Whisper]
"""Name, configuration and the folder of what was downloaded -> the model. Blocks. Raises ModelError."""
Fetch = Callable[[str, SpeechConfig, Path], Awaitable[None]]
"""The same -> it lies there, if it is one from the hub. Cancelling ends the download. Raises ModelError."""
Heard = Detected | Segment


NICENESS = 10
"""Of the threads that hear: whoever is being answered goes first. Measured: they keep the event loop from its turn otherwise."""


def _stand_back() -> None:
    """On Linux niceness is a thread's own, and the library's threads begin with that of the one that loads a model."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


@dataclass
class _Model:
    """A model that is loaded, or about to be."""

    loading: asyncio.Task[whisper.Whisper]
    users: int = 0
    idle: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class _Run:
    """A transcription in a thread."""

    stop: threading.Event = field(default_factory=threading.Event)
    queue: asyncio.Queue[Heard | None] = field(default_factory=asyncio.Queue)


class SpeechModels:
    """Implements bot.ports.SpeechToText. Belongs to one event loop."""

    def __init__(
        self, config: SpeechConfig, data_dir: Path, *, load: Load = whisper.load, fetch: Fetch = download.fetch
    ) -> None:
        self._config = config
        self._cache = data_dir / "models" / "speech"
        self._load = load
        self._fetch = fetch
        self._models: dict[str, _Model] = {}
        self._runs: set[_Run] = set()
        self._closed = False
        self._pool = ThreadPoolExecutor(config.workers, thread_name_prefix="speech", initializer=_stand_back)
        self._loop = asyncio.get_running_loop()

    @property
    def loaded(self) -> list[str]:
        """Names of the models that are in memory."""
        return [name for name, model in self._models.items() if model.loading.done()]

    async def transcribe(
        self, audio: Audio, options: TranscribeOptions, *, model: str | None = None
    ) -> AsyncGenerator[Heard, None]:
        """See bot.ports.SpeechToText."""
        if self._closed:
            raise EngineBroken(detail="the speech models are closed")
        name = model or self._config.model
        held = self._hold(name)
        run, work = _Run(), None
        self._runs.add(run)
        try:
            await asyncio.wait([held.loading])
            if self._closed:
                raise EngineBroken(detail="the speech models are closed")
            loaded = held.loading.result()
            work = self._loop.run_in_executor(self._pool, self._work, loaded, audio, options, run)
            work.add_done_callback(lambda _: run.queue.put_nowait(None))
            while (item := await run.queue.get()) is not None:
                yield item
            if self._closed:  # what was heard so far must not pass for the whole
                raise EngineBroken(detail="the speech models are closed")
            work.result()
        except ModelError as error:
            raise EngineBroken("The speech model cannot be loaded.", detail=str(error)) from error
        except (RuntimeError, ValueError) as error:
            raise EngineError("The speech model failed. Please try again.", detail=str(error)) from error
        finally:
            run.stop.set()
            self._runs.discard(run)
            if work is not None:
                work.cancel()  # the window that is under way ends in its thread, which holds the model as long
            self._release(name, held)

    async def aclose(self) -> None:
        """Free everything, once what runs has come to the end of its window: that ends with EngineBroken.

        A download is not waited for; a model that is being read from the disk is.
        """
        self._closed = True
        for run in self._runs:
            run.stop.set()
        loads = [model.loading for model in self._models.values()]
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        for model in self._models.values():
            if model.idle is not None:
                model.idle.cancel()
        self._models.clear()

    def _work(self, model: whisper.Whisper, audio: Audio, options: TranscribeOptions, run: _Run) -> None:
        """In a thread of the pool."""
        with closing(model.transcribe(audio, options)) as items:  # type: ignore[type-var]  # a generator
            for item in items:
                if run.stop.is_set():
                    return
                self._loop.call_soon_threadsafe(run.queue.put_nowait, item)
                if run.stop.is_set():
                    return

    async def _opened(self, name: str) -> whisper.Whisper:
        """In a thread of the pool a model is loaded, and not fetched: that may take long, and must end at once."""
        await self._fetch(name, self._config, self._cache)
        return await self._loop.run_in_executor(self._pool, self._load, name, self._config, self._cache)

    def _hold(self, name: str) -> _Model:
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = _Model(self._loop.create_task(self._opened(name)))
            model.loading.add_done_callback(partial(self._loaded, name, model))
        if model.idle is not None:
            model.idle.cancel()
            model.idle = None
        model.users += 1
        return model

    def _loaded(self, name: str, model: _Model, loading: asyncio.Task[whisper.Whisper]) -> None:
        """A load that failed is forgotten: the next who asks tries again."""
        if not (loading.cancelled() or loading.exception()):
            self._rest(name, model)
        elif self._models.get(name) is model:
            del self._models[name]

    def _release(self, name: str, model: _Model) -> None:
        model.users -= 1
        self._rest(name, model)

    def _rest(self, name: str, model: _Model) -> None:
        """Its time begins when nobody uses it any more; not before it is there, or the next would load it once more."""
        here = model.loading.done() and self._models.get(name) is model
        if here and model.users == 0 and model.idle is None and not self._closed:
            model.idle = self._loop.call_later(self._config.idle_unload, self._unload, name, model)

    def _unload(self, name: str, model: _Model) -> None:
        if model.users == 0 and self._models.get(name) is model:
            del self._models[name]
            log.info("speech model unloaded", model=name)
