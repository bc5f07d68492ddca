"""ExLlamaV2 0.3.2: load, jobs, and its results as ours. Everything here runs in the worker's thread.

What it does wrong by itself is put right here:
without flash-attn its scaled-dot-product attention has no causal mask, so the plain one is chosen, which answers one at
a time; config.json as transformers 5 writes it gives wrong positions; the sampler's defaults are not neutral; with
speculation a job ends some tokens early; each step reads a chunk of every new prompt, so new ones come in one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import structlog

from bot.config import ModelConfig
from bot.engines.exllama import device, sizing
from bot.engines.exllama.failures import Failure, failure_of, one_line
from bot.engines.exllama.jobs import Event, Job
from bot.engines.exllama.progress import Progress
from bot.engines.exllama.running import Running
from bot.engines.exllama.shaping import Shaping
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder, Rope, look, rope
from bot.errors import EngineBroken, ModelError, Told
from bot.generation import Sampling

log = structlog.get_logger(__name__)

LIBRARY, EXTENSION = "exllamav2", "exllamav2_ext"
PAGE = 256
MOST_CONTEXT = 768 * PAGE
"""Tokens: tidying its cache, it goes one level of recursion deeper for each page of a sequence, and fails near 1,000."""
MOST_DRAFT = 7
"""A step computes the token and its guesses in rows of eight."""
ROWS = 8
"""`max_q_size`: tokens per sequence in a step."""
OTHERS_RESERVE = 64 * sizing.MEBIBYTE
"""Bytes on each GPU after the first, as the library itself reserves."""
CACHES = {16: "ExLlamaV2Cache", 8: "ExLlamaV2Cache_Q8", 6: "ExLlamaV2Cache_Q6", 4: "ExLlamaV2Cache_Q4"}
"""By bits per value. Of its FP8 cache its generator says itself that it does not work."""


class V2:
    """A `worker.Backend`."""

    def __init__(self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> None:
        self.context_length = 0
        self.slots = config.slots
        """So many answers at once: one without flash-attn."""
        self._folder = folder
        self._config = config
        self._vocabulary = vocabulary
        self._draft_tokens = config.gpu.draft_tokens if config.gpu.drafts else 0
        self._batch, self._chunk = config.slots, config.gpu.chunk
        self._paged = True
        self._torch: Any = None
        self._library: Any = None
        self._parts: dict[str, Any] = {}
        """model, cache, tokenizer, and draft_model, draft_cache, loras: what a generator is made over."""
        self._generator: Any = None
        self._waiting: deque[Running] = deque()
        self._running: dict[int, Running] = {}
        """By the library's serial number."""

    def load(self) -> None:
        """Raises ModelError, NoGpu, and whatever the library raises."""
        device.installed(LIBRARY)
        self._torch = device.torch_with_gpu()
        device.check_capability(self._torch, LIBRARY)
        if not device.is_built(EXTENSION):
            log.warning("compiling exllamav2; `hearth engine build` does it ahead", model=str(self._folder.path))
        self._library = library()
        self._open()
        self._start()
        self._generator.warmup()

    def submit(self, job: Job) -> None:
        """The library's job is made here, so that what it dislikes fails this one alone."""
        shaping = Shaping(self._torch, job.request, self._vocabulary, job.matcher)
        handle = self._handle(job, shaping)
        self._waiting.append(Running(job, handle, shaping, self._vocabulary, self._generator.page_size))

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
            running = self._running.get(result["serial"])
            if running is None or running.ended:
                continue
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
        if smaller:
            self._batch = max(1, self._batch // 2)
            self._chunk = max(PAGE, self._chunk // 2 // PAGE * PAGE)
            log.warning("the generator is built smaller", at_once=self._batch, chunk=self._chunk)
        self._start()

    def unload(self) -> None:
        """Free everything but the CUDA context."""
        self._drop()
        for name in ("model", "draft_model"):
            if (model := self._parts.get(name)) is not None:
                model.unload()
        self._parts.clear()
        if self._torch is not None:
            device.release(self._torch)

    def _admit(self) -> list[tuple[Job, Event | Told]]:
        """Hand over what waits, but not more unread prompt than one chunk: each step reads one of every new prompt."""
        events: list[tuple[Job, Event | Told]] = []
        unread = sum(self._prompt(each) for each in self._running.values() if not each.handle.is_prefill_done())
        while self._waiting and len(self._running) < self._batch:
            if unread and unread + self._prompt(self._waiting[0]) > self._chunk:
                break
            running = self._waiting.popleft()
            unread += self._prompt(running)
            try:
                serial = self._generator.enqueue(running.handle)
            except Exception as error:
                if failure_of(error) is not Failure.STEP:
                    raise
                events.append((running.job, EngineBroken(detail=one_line(error))))
            else:
                running.begin()
                self._running[serial] = running
        return events

    def _prompt(self, running: Running) -> int:
        return len(running.job.request.prompt)

    def _handle(self, job: Job, shaping: Shaping) -> Any:
        request = job.request
        prompt = self._torch.tensor([request.prompt], dtype=self._torch.long)
        wanted = shaping.changes or shaping.reports or shaping.matcher is not None
        return self._library.generator.ExLlamaV2DynamicJob(
            input_ids=prompt,
            max_new_tokens=job.max_tokens + self._draft_tokens,  # it ends so many early
            gen_settings=settings(self._library, request.sampling),
            seed=request.sampling.seed,
            stop_conditions=sorted(self._vocabulary.end_ids),  # stop strings are found by `Writer`
            filters=[LogitFilter(self._torch, shaping)] if wanted else [],
            token_healing=False,
        )

    def _drop(self) -> None:
        generator, self._generator = self._generator, None
        self._waiting.clear()
        self._running.clear()
        if generator is not None:
            for pool in (generator.sampling_pool, generator.filter_pool):
                if pool is not None:
                    pool.shutdown(wait=False)
            for job in [*generator.active_jobs, *generator.pending_jobs]:
                job.generator = None  # a cycle, else
            generator.model = generator.cache = generator.draft_model = generator.draft_cache = None
        del generator
        if self._torch is not None:
            device.release(self._torch)

    def _start(self) -> None:
        parts, drafted = self._parts, bool(self._draft_tokens)
        self._generator = self._library.generator.ExLlamaV2DynamicGenerator(
            model=parts["model"],
            cache=parts["cache"],
            tokenizer=parts["tokenizer"],
            max_batch_size=self._batch,
            max_chunk_size=self._chunk,
            max_q_size=ROWS,
            draft_model=parts.get("draft_model"),
            draft_cache=parts.get("draft_cache"),
            num_draft_tokens=self._draft_tokens,
            use_ngram_draft=drafted and parts.get("draft_model") is None,
            paged=self._paged,
        )
        if loras := parts.get("loras"):
            self._generator.set_loras(loras)

    def _open(self) -> None:
        """Read the weights into the GPU, the draft model's first: what is left is the cache's."""
        library, gpu = self._library, self._config.gpu
        config = self._prepared(self._folder)
        self._paged = bool(library.attn.has_flash_attn_with_paged) and not config.no_flash_attn
        if not self._paged:
            config.no_flash_attn = config.no_sdpa = config.no_xformers = True
            self._batch = self.slots = 1
            log.warning("no flash-attn: exllamav2 answers one at a time", model=str(self._folder.path))
        plan = self._plan()
        draft = self._open_draft(plan)
        self.context_length = plan.context_length - self._draft_tokens
        config.max_seq_len = plan.context_length
        self._chunk = min(self._chunk, max(PAGE, plan.context_length // PAGE * PAGE))
        config.max_input_len = max(self._chunk, ROWS * self._batch)
        model = self._model(config)
        cache = self._filled(model, plan.cache_tokens, "exllamav2")
        tokenizer = library.ExLlamaV2Tokenizer(config)
        for special in (False, True):
            tokenizer.get_id_to_piece_list(special)  # made on first use otherwise, within somebody's step
        loras = [library.ExLlamaV2Lora.from_directory(model, str(path)) for path in gpu.loras]
        self._parts = {"model": model, "cache": cache, "tokenizer": tokenizer, "loras": loras, **draft}

    def _model(self, config: Any) -> Any:
        return self._library.ExLlamaV2(config)

    def _prepared(self, folder: ModelFolder) -> Any:
        config = self._library.ExLlamaV2Config()
        config.model_dir = str(folder.path)
        config.prepare()
        if (found := rope(folder)) is not None:
            set_rope(config, found)
        config.arch_compat_overrides(quiet=True)
        return config

    def _plan(self) -> sizing.Plan:
        draft = self._config.gpu.draft_model
        folders = (self._folder, look(draft)) if draft else (self._folder,)
        return sizing.plan_for(
            folders, self._config, free=device.free_bytes(self._torch), slots=self.slots, most_context=MOST_CONTEXT
        )

    def _open_draft(self, plan: sizing.Plan) -> dict[str, Any]:
        path = self._config.gpu.draft_model
        if path is None:
            return {}
        folder = look(path)
        folder.library("exllamav2")
        config = self._prepared(folder)
        if Vocabulary(folder).vocabulary() != self._vocabulary.vocabulary():
            raise ModelError(f"{path}: has another vocabulary than the model that it is to guess for")
        config.max_seq_len = plan.context_length
        config.max_input_len = max(self._chunk, ROWS * self._batch)
        model = self._model(config)
        return {"draft_model": model, "draft_cache": self._filled(model, plan.cache_tokens, path.name)}

    def _filled(self, model: Any, tokens: int, name: str) -> Any:
        """Load a model's weights; returns its cache."""
        gpu, progress = self._config.gpu, Progress(name)
        kind = getattr(self._library, CACHES[gpu.cache_bits])
        if gpu.split:
            model.load(list(gpu.split), callback=progress)
            return kind(model, max_seq_len=tokens)
        others = self._torch.cuda.device_count() - 1
        cache = kind(model, max_seq_len=tokens, lazy=True)
        model.load_autosplit(
            cache, reserve_vram=[gpu.reserve_mib * sizing.MEBIBYTE, *[OTHERS_RESERVE] * others], callback=progress
        )
        return cache


class LogitFilter:
    """Shaping as a filter of the library: the one place where it lets others see and change a job's logits.

    It needs no more of the library's own base class than these methods. None may raise: that would end every job.
    """

    def __init__(self, torch: Any, shaping: Shaping) -> None:
        self._torch = torch
        self._shaping = shaping
        self._generated: list[int] = []

    def begin(self, prefix: str) -> None:
        """Before the first token."""

    def background_drop(self) -> None:
        """Nothing is computed ahead."""

    def use_background_worker(self) -> bool:
        """The mask is made when it is needed: tens of microseconds."""
        return False

    def can_mask_logits(self) -> bool:
        """So `mask_logits` is called, and lists of allowed tokens are not asked for."""
        return True

    def get_next(self, mask: bool = False) -> bool:
        """Whether `mask_logits` may be called."""
        return True

    def mask_logits(self, logits: Any) -> Any:
        """(padded vocabulary,) -> new logits; the model's own stay as they are."""
        self._shaping.see(logits)
        if self._shaping.changes:
            logits = self._shaping.changed(logits, self._torch.tensor(self._generated, dtype=self._torch.long))
        return self._shaping.masked(logits)

    def feed(self, token: Any) -> None:
        """The token that was chosen, a tensor of shape (1, 1)."""
        chosen = int(token.item())
        self._generated.append(chosen)
        self._shaping.chose(chosen)
        if self._shaping.matcher is not None:
            self._shaping.matcher.accept(chosen)


def settings(library: Any, sampling: Sampling) -> Any:
    """The library's sampler settings: its defaults (temperature .8, top-k 50, top-p .8, penalty 1.025) are not neutral.

    Penalties and biases are not here: the library counts the prompt in. Each job has settings of its own.
    """
    greedy = sampling.temperature <= 0
    return library.generator.ExLlamaV2Sampler.Settings(
        temperature=1.0 if greedy else sampling.temperature,
        top_k=1 if greedy else sampling.top_k,
        top_p=0.0 if greedy else sampling.top_p,
        min_p=0.0 if greedy else sampling.min_p,
        token_repetition_penalty=1.0,
        token_frequency_penalty=0.0,
        token_presence_penalty=0.0,
        top_a=0.0,
        tfs=0.0,
        typical=0.0,
        skew=0.0,
        smoothing_factor=0.0,
        dry_multiplier=0.0,
        xtc_probability=0.0,
    )


def set_rope(config: Any, found: Rope) -> None:
    """Put what transformers 5 writes where the library looks for it (exllamav2/config.py, `rope_scaling`)."""
    config.rotary_embedding_base = found.theta
    if found.partial is not None:
        config.partial_rotary_factor = found.partial
    scaling = found.scaling
    match scaling.get("rope_type") or scaling.get("type"):
        case "linear":
            config.scale_pos_emb = float(scaling["factor"])
        case "llama3":
            config.alt_rope_method = "llama3"
            config.l3_rope_factor = scaling["factor"]
            config.l3_rope_low_freq_factor = scaling["low_freq_factor"]
            config.l3_rope_high_freq_factor = scaling["high_freq_factor"]
            config.l3_rope_original_max_position_embeddings = scaling["original_max_position_embeddings"]


def library() -> Any:
    """exllamav2, imported: only in the worker's thread, and only where there is a GPU. May raise anything."""
    import exllamav2
    import exllamav2.attn
    import exllamav2.generator

    return exllamav2
