"""What V2 and V3 have in common: loading behind the gate of a GPU, jobs from their coming to their end, and rebuilding.

Everything here runs in the worker's thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import structlog

from bot.config import ModelConfig
from bot.engines.exllama import build, device, sizing
from bot.engines.exllama.failures import Failure, failure_of, one_line
from bot.engines.exllama.jobs import Event, Job
from bot.engines.exllama.running import Running
from bot.engines.exllama.shaping import Shaping
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder, look
from bot.errors import EngineBroken, ModelError, Told

log = structlog.get_logger(__name__)

PAGE = 256
"""Tokens: both libraries give out their caches in such pages."""


class LibraryBackend(ABC):
    """A `worker.Backend` over one of the libraries' generators, which are driven in the same way."""

    library: ClassVar[Literal["exllamav2", "exllamav3"]]
    extension: ClassVar[str]
    """What the library compiles."""

    def __init__(self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> None:
        self.context_length = 0
        self.slots = config.slots
        """So many answers at once."""
        self._folder = folder
        self._config = config
        self._vocabulary = vocabulary
        self._draft_tokens = config.gpu.draft_tokens if config.gpu.drafts else 0
        self._batch, self._chunk = config.slots, config.gpu.chunk
        self._cards = 0
        """So many of the machine's GPUs are used, the first ones; `load` finds out."""
        self._torch: Any = None
        self._module: Any = None
        self._parts: dict[str, Any] = {}
        """model, cache, tokenizer, and draft_model, draft_cache, loras: what a generator is made over."""
        self._generator: Any = None
        self._waiting: deque[Running] = deque()
        self._running: dict[int, Running] = {}
        """By the library's serial number."""

    @abstractmethod
    def _import(self) -> Any:
        """The library; may raise anything."""

    @abstractmethod
    def _open(self) -> None:
        """Read the weights into the GPU and set `context_length` and `_parts`."""

    @abstractmethod
    def _start(self) -> None:
        """Make a generator over what is loaded."""

    @abstractmethod
    def _warm_up(self) -> None:
        """Compute once what would make somebody's first step slow."""

    @abstractmethod
    def _handle(self, job: Job, shaping: Shaping) -> Any:
        """The library's own job."""

    def _has_room(self, running: Running) -> bool:
        """Whether the generator should get another job now."""
        return True

    @abstractmethod
    def _retire(self, generator: Any) -> None:
        """Let a generator go of what it holds."""

    def load(self) -> None:
        """Raises ModelError, NoGpu, and whatever the library raises."""
        device.installed(self.library)
        self._torch = device.torch_with_gpu()
        self._cards = device.cards(self._torch, self.library, self._config.gpu.split)
        if not device.is_built(self.extension):
            log.warning("compiling, for many minutes; `hearth engine build` does it ahead", library=self.library)
            build.build(self.library)  # not by the import: that would not find what pip put beside PyTorch
        device.name_architectures(self._torch, self.library)
        self._module = self._import()
        self._open()
        self._start()
        self._warm_up()

    def submit(self, job: Job) -> None:
        """The library's job is made here, so that what it dislikes fails this one alone."""
        shaping = Shaping(self._torch, job.request, self._vocabulary, job.matcher)
        self._waiting.append(Running(job, self._handle(job, shaping), shaping, self._vocabulary, self._page()))

    def cancel(self, job: Job) -> None:
        """Frees its pages; one that waits was never given any."""
        for running in [running for running in self._waiting if running.job is job]:
            self._waiting.remove(running)
        for serial, running in list(self._running.items()):
            if running.job is job:
                del self._running[serial]
                self._generator.cancel(running.handle)

    @property
    def busy(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self._waiting or self._running)

    def step(self) -> Iterable[tuple[Job, Event | Told]]:
        """Compute once for all that run."""
        events = self._admit()
        if not self._running:
            return events
        for result in self._generator.iterate():
            if result["stage"] == "error" and failure_of(result["error"]) is not Failure.STEP:
                raise result["error"]  # exllamav3 tells it to one job, but it is everybody's
            running = self._running.get(result["serial"])
            if running is not None and not running.ended:
                events += [(running.job, event) for event in running.read(result)]
        for serial, running in list(self._running.items()):
            if running.ended:
                del self._running[serial]
                if running.still_generates:
                    self._generator.cancel(running.handle)
        return events

    def rebuild(self, *, smaller: bool) -> None:
        """Half the batch and the chunk, if memory was the reason. The old generator goes first."""
        self._drop()
        device.release(self._torch)
        if smaller:
            self._batch = max(1, self._batch // 2)
            self._chunk = max(PAGE, self._chunk // 2 // PAGE * PAGE)
            log.warning("the generator is built smaller", at_once=self._batch, chunk=self._chunk)
        self._start()

    def unload(self) -> None:
        """Free everything but the CUDA context."""
        self._drop()
        for name in ("model", "draft_model"):
            if (model := self._parts.pop(name, None)) is not None:
                model.unload()
                del model
        self._parts.clear()
        if self._torch is not None:
            device.release(self._torch)

    def _page(self) -> int:
        return PAGE

    def _plan(self, *, most_context: int | None = None, work_per_token: int = 0) -> sizing.Plan:
        draft = self._config.gpu.draft_model
        folders = (self._folder, look(draft)) if draft else (self._folder,)
        return sizing.plan_for(
            folders,
            self._config,
            free=device.free_bytes(self._torch, self._cards),
            slots=self.slots,
            chunk=self._chunk,
            cards=self._cards,
            most_context=most_context,
            work_per_token=work_per_token,
        )

    def _draft_folder(self) -> ModelFolder | None:
        """The model that guesses. Raises ModelError if it speaks another language of ids."""
        path = self._config.gpu.draft_model
        if path is None:
            return None
        folder = look(path)
        if folder.library(self.library) != self.library:
            raise ModelError(f"{path}: is not for {self.library}, as the model is that it is to guess for")
        if Vocabulary(folder).vocabulary() != self._vocabulary.vocabulary():
            raise ModelError(f"{path}: has another vocabulary than the model that it is to guess for")
        return folder

    def _admit(self) -> list[tuple[Job, Event | Told]]:
        """Hand over what waits; what the generator refuses fails alone."""
        events: list[tuple[Job, Event | Told]] = []
        while self._waiting and self._has_room(self._waiting[0]):
            running = self._waiting.popleft()
            try:
                serial = self._generator.enqueue(running.handle)
            except Exception as error:
                if failure_of(error) is not Failure.STEP:
                    raise
                log.warning("a request was refused", reason=one_line(error))
                events.append((running.job, EngineBroken(detail=one_line(error))))
            else:
                running.begin()
                self._running[serial] = running
        return events

    def _drop(self) -> None:
        generator, self._generator = self._generator, None
        self._waiting.clear()
        self._running.clear()
        if generator is not None:
            self._retire(generator)
