"""ExLlamaV2 0.3.2: load, jobs, and its results as ours. Everything here runs in the worker's thread.

What it does wrong by itself is put right here:
without flash-attn its scaled-dot-product attention has no causal mask, so the plain one is chosen, which answers one at
a time; config.json as transformers 5 writes it gives wrong positions; the sampler's defaults are not neutral, and its
top_p leaves a token too much out; with speculation a job ends some tokens early; each step reads a chunk of every new
prompt, so new ones come in one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from bot.config import ModelConfig
from bot.engines.exllama import nucleus, positions, sizing
from bot.engines.exllama.backend import PAGE, LibraryBackend
from bot.engines.exllama.jobs import Job
from bot.engines.exllama.progress import Progress
from bot.engines.exllama.running import Running
from bot.engines.exllama.shaping import Shaping
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder, rope
from bot.errors import ModelError
from bot.generation import Sampling

log = structlog.get_logger(__name__)

MOST_CONTEXT = 768 * PAGE
"""Tokens: tidying its cache, it goes one level of recursion deeper for each page of a sequence, and fails near 1,000."""
ROWS = 8
"""`max_q_size`: tokens per sequence in a step, the guessed ones included."""
FLASH_ATTN = (8, 0)
"""Ampere: on older GPUs exllamav2 only warns, and flash-attn fails at the first step."""
OTHERS_RESERVE = 64 * sizing.MEBIBYTE
"""Bytes on each GPU after the first, as the library itself reserves."""
WHOLE_CARD = 2**50
"""Bytes that no GPU has: asked to reserve them, the library ends there for want of memory."""
WHOLE_BITS, QUANTISED_HEAD = 16, 32
"""Its quantised caches need heads whose width is a multiple of this."""
CACHES = {16: "ExLlamaV2Cache", 8: "ExLlamaV2Cache_Q8", 6: "ExLlamaV2Cache_Q6", 4: "ExLlamaV2Cache_Q4"}
"""By bits per value. Of its FP8 cache its generator says itself that it does not work."""


class V2(LibraryBackend):
    """A `worker.Backend`."""

    library = "exllamav2"
    extension = "exllamav2_ext"

    def __init__(self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(folder, config, vocabulary)
        self._paged = True
        """Without flash-attn it answers one at a time."""

    def _import(self) -> Any:
        return library()

    def _warm_up(self) -> None:
        self._generator.warmup()

    def _page(self) -> int:
        return int(self._generator.page_size)

    def _has_room(self, running: Running) -> bool:
        """Not more unread prompt than one chunk: each step reads a chunk of every new prompt, and others wait for it."""
        if len(self._running) >= self._batch:
            return False
        unread = [each for each in self._running.values() if not each.handle.is_prefill_done()]
        return not unread or sum(len(each.job.request.prompt) for each in (*unread, running)) <= self._chunk

    def _handle(self, job: Job, shaping: Shaping) -> Any:
        request = job.request
        wanted = shaping.changes or shaping.reports or shaping.matcher is not None or nucleus.cuts(request.sampling)
        size = self._vocabulary.size
        return self._module.generator.ExLlamaV2DynamicJob(
            input_ids=self._torch.tensor([request.prompt], dtype=self._torch.long),
            max_new_tokens=job.max_tokens + self._draft_tokens,  # it ends so many early
            gen_settings=settings(self._module, request.sampling),
            seed=request.sampling.seed,
            stop_conditions=sorted(self._vocabulary.end_ids),  # stop strings are found by `Writer`
            filters=[LogitFilter(self._torch, shaping, request.sampling, size)] if wanted else [],
            token_healing=False,
        )

    def _retire(self, generator: Any) -> None:
        for pool in (getattr(generator, "sampling_pool", None), generator.filter_pool):
            if pool is not None:
                pool.shutdown(wait=False)
        for job in [*generator.active_jobs, *generator.pending_jobs]:
            job.generator = None
        generator.all_pages = []  # each knows the generator, which knows the cache
        generator.model = generator.cache = generator.draft_model = generator.draft_cache = None

    def _start(self) -> None:
        parts, drafted = self._parts, bool(self._draft_tokens)
        self._generator = self._module.generator.ExLlamaV2DynamicGenerator(
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
        draft = self._draft_folder()
        folders = [folder for folder in (self._folder, draft) if folder is not None]
        configs = [self._prepared(folder) for folder in folders]
        self._choose_attention(configs)
        work = 0 if self._paged else max(map(unpaged_work, folders))
        plan = self._plan(most_context=self._most_context(configs), work_per_token=work)
        self.context_length = plan.context_length - self._draft_tokens
        self._batch = min(self._batch, plan.context_length // ROWS)
        self._chunk = min(self._chunk, max(PAGE, plan.context_length // PAGE * PAGE))
        for config, folder in zip(configs, folders, strict=True):
            config.max_seq_len = plan.context_length
            config.max_input_len = max(self._chunk, ROWS * self._batch)
            if (found := rope(folder)) is not None:
                positions.set_rope(config, found)
        if draft is not None:
            self._parts["draft_model"] = self._model(configs[1])
            self._parts["draft_cache"] = self._filled(self._parts["draft_model"], plan.cache_tokens, draft.path.name)
        model = self._parts["model"] = self._model(configs[0])
        self._parts["cache"] = self._filled(model, plan.cache_tokens, self._folder.path.name)
        tokenizer = self._parts["tokenizer"] = self._module.ExLlamaV2Tokenizer(configs[0])
        for special in (False, True):
            tokenizer.get_id_to_piece_list(special)  # made on first use otherwise, within somebody's step
        lora = self._module.ExLlamaV2Lora
        self._parts["loras"] = [lora.from_directory(model, str(path)) for path in self._config.gpu.loras]

    def _choose_attention(self, configs: Sequence[Any]) -> None:
        """Paged with flash-attn; without it the one way that is right, for all models alike."""
        capability = self._torch.cuda.get_device_capability
        new = all(capability(number) >= FLASH_ATTN for number in range(self._cards))
        paged = new and bool(self._module.attn.has_flash_attn_with_paged)
        self._paged = paged and not any(config.no_flash_attn for config in configs)
        if not self._paged:
            for config in configs:
                config.no_flash_attn = config.no_sdpa = config.no_xformers = True
            self._batch = self.slots = 1
            self._chunk = PAGE  # its scores, chunk by context by heads, are all in memory at once
            log.warning("no flash-attn: exllamav2 answers one at a time", model=str(self._folder.path))
        if self._config.gpu.cache_bits < WHOLE_BITS and any(config.head_dim % QUANTISED_HEAD for config in configs):
            raise ModelError(
                f"{self._folder.path}: exllamav2 cannot keep its KV cache in {self._config.gpu.cache_bits} bits"
            )

    def _most_context(self, configs: Sequence[Any]) -> int:
        """Without flash-attn it ends with a sliding window: that is cut as if each chunk were one token."""
        sliding = [config.sliding_window for config in configs if config.arch.lm.swa or config.arch.lm.alternating_swa]
        return MOST_CONTEXT if self._paged else min([MOST_CONTEXT, *(width for width in sliding if width)])

    def _model(self, config: Any) -> Any:
        return self._module.ExLlamaV2(config)

    def _prepared(self, folder: ModelFolder) -> Any:
        config = self._module.ExLlamaV2Config()
        config.model_dir = str(folder.path)
        config.prepare()
        config.arch_compat_overrides(quiet=True)
        return config

    def _filled(self, model: Any, tokens: int, name: str) -> Any:
        """Load a model's weights; returns its cache."""
        gpu, progress = self._config.gpu, Progress(name)
        kind = getattr(self._module, CACHES[gpu.cache_bits])
        if gpu.split:
            model.load(list(gpu.split), callback=progress)
            return kind(model, max_seq_len=tokens)
        others = [OTHERS_RESERVE] * (self._cards - 1)
        unused = [WHOLE_CARD] * (self._torch.cuda.device_count() - self._cards)
        cache = kind(model, max_seq_len=tokens, lazy=True)
        model.load_autosplit(
            cache,
            reserve_vram=[gpu.reserve_mib * sizing.MEBIBYTE, *others, *unused],
            last_id_only=True,  # what it tries out needs no logits for a whole chunk: those of no prompt are computed
            callback=progress,
        )
        return cache


def unpaged_work(folder: ModelFolder) -> int:
    """Bytes that computing takes for each token of the context, without flash-attn. Raises ModelError."""
    return sizing.matmul_bytes(folder.text_config, PAGE)


class LogitFilter:
    """Shaping as a filter of the library: the one place where it lets others see and change a job's logits.

    It needs no more of the library's own base class than these methods. None may raise: that would end every job.
    """

    def __init__(self, torch: Any, shaping: Shaping, sampling: Sampling, size: int) -> None:
        self._torch = torch
        self._shaping = shaping
        self._sampling = sampling
        self._size = size
        """Of the vocabulary, without padding."""
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
        logits = self._shaping.masked(logits)
        return nucleus.cut(self._torch, logits, self._sampling, self._size) if nucleus.cuts(self._sampling) else logits

    def feed(self, token: Any) -> None:
        """The token that was chosen, a tensor of shape (1, 1)."""
        chosen = int(token.item())
        self._generated.append(chosen)
        self._shaping.chose(chosen)
        if self._shaping.matcher is not None:
            self._shaping.matcher.accept(chosen)


def settings(library: Any, sampling: Sampling) -> Any:
    """The library's sampler settings: its defaults (temperature .8, top-k 50, top-p .8, penalty 1.025) are not neutral.

    Penalties and biases are not here: the library counts the prompt in. Nor is top_p: see `nucleus`. Each job has
    settings of its own.
    """
    greedy = sampling.temperature <= 0
    return library.generator.ExLlamaV2Sampler.Settings(
        temperature=1.0 if greedy else sampling.temperature,
        top_k=1 if greedy else sampling.top_k,
        top_p=1.0,
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


def library() -> Any:
    """exllamav2, imported: only in the worker's thread, and only where there is a GPU. May raise anything."""
    import exllamav2
    import exllamav2.attn
    import exllamav2.generator

    return exllamav2
