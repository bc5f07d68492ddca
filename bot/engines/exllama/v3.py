"""ExLlamaV3 1.6: load, jobs, and its results as ours. Everything here runs in the worker's thread.

It needs no flash-attn, reads the prompts of new jobs between others' steps by itself, and tells a job's error to that
job. What is put right here: log-probabilities and penalties in the OpenAI API's meaning, and a grammar whose end is the
end of the answer and whose errors are this job's alone.
"""

from __future__ import annotations

from typing import Any

from bot.config import ModelConfig
from bot.engines.exllama import sizing
from bot.engines.exllama.backend import LibraryBackend
from bot.engines.exllama.grammar import Matcher
from bot.engines.exllama.jobs import Job
from bot.engines.exllama.progress import Progress
from bot.engines.exllama.shaping import Shaping
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder
from bot.generation import Sampling

WHOLE_BITS = 16
GIBIBYTE = 1024**3
NGRAM_MATCH = 3
"""Tokens that must be the same before what followed them is guessed again."""
RESERVED_TOKENS = 2048
"""Of its new tokens, a job reserves so many in the cache at a time, and is queued again with its pages when they are used
up: so a request that allows many does not keep others out."""
OTHERS_RESERVE = 0.5
"""Gigabytes on each GPU after the first, as the library itself reserves."""
UNUSED = -1.0
"""In place of a reserve: the GPU is left alone."""


class V3(LibraryBackend):
    """A `worker.Backend`."""

    library = "exllamav3"
    extension = "exllamav3_ext"

    def __init__(self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(folder, config, vocabulary)
        self._ends = sorted(vocabulary.end_ids)

    def _import(self) -> Any:
        return library()

    def _open(self) -> None:
        plan = self._plan()
        self.context_length = plan.context_length - self._draft_tokens - 1  # its own bound on a job's length
        draft = self._draft_folder()
        config = self._module.Config.from_directory(str(self._folder.path))
        model = self._parts["model"] = self._model(config)
        self._parts["cache"] = self._cache(model, plan.cache_tokens)
        if draft is not None:
            draft_model = self._parts["draft_model"] = self._model(self._module.Config.from_directory(str(draft.path)))
            self._parts["draft_cache"] = self._cache(draft_model, plan.cache_tokens)
            self._fill(draft_model, draft.path.name)
        self._fill(model, self._folder.path.name)
        self._parts["tokenizer"] = self._module.Tokenizer.from_config(config)
        for special in (False, True):
            self._parts["tokenizer"].get_id_to_piece_list(special)  # made on first use otherwise
        self._parts["loras"] = [
            self._module.model.lora.LoRA.from_directory(model, str(path)) for path in self._config.gpu.loras
        ]

    def _model(self, config: Any) -> Any:
        return self._module.Model.from_config(config)

    def _cache(self, model: Any, tokens: int) -> Any:
        """To be made before the weights are loaded: the library gives it its memory with each layer."""
        bits = self._config.gpu.cache_bits
        quantised = {"layer_type": self._module.CacheLayer_quant, "k_bits": bits, "v_bits": bits}
        return self._module.Cache(
            model,
            max_num_tokens=tokens,
            max_batch_size=self._batch,
            max_history=self._draft_tokens,
            **(quantised if bits < WHOLE_BITS else {}),
        )

    def _fill(self, model: Any, name: str) -> None:
        gpu = self._config.gpu
        reserve = gpu.reserve_mib * sizing.MEBIBYTE / GIBIBYTE
        others, count = [OTHERS_RESERVE] * (self._cards - 1), self._torch.cuda.device_count()
        unused = [UNUSED] * (count - self._cards)
        try:
            model.load(
                reserve_per_device=None if gpu.split else [reserve, *others, *unused],
                use_per_device=list(gpu.split) or None,
                max_chunk_size=self._chunk,
                max_batch_size=self._batch,
                callback=Progress(name),
            )
        finally:  # a load that fails leaves PyTorch bound to what it was allowed
            for number in range(count):
                self._torch.cuda.set_per_process_memory_fraction(1.0, number)

    def _start(self) -> None:
        """By itself it reads one chunk of new prompts in five steps while others are written: eight that come together would
        begin 35 steps apart. Without any pause it takes turns only if its smaller chunk is smaller than the whole one."""
        parts, ngram = self._parts, self._config.gpu.ngram_draft
        self._generator = self._module.Generator(
            model=parts["model"],
            cache=parts["cache"],
            tokenizer=parts["tokenizer"],
            max_batch_size=self._batch,
            max_chunk_size=self._chunk,
            prefill_cooldown=0 if self._chunk > sizing.PAGE else 1,
            draft_model=parts.get("draft_model"),
            draft_cache=parts.get("draft_cache"),
            num_draft_tokens=self._draft_tokens or None,
            ngram_match_min=NGRAM_MATCH if ngram else 0,
        )

    def _warm_up(self) -> None:
        """Compiles and tunes kernels. The generator is made anew after it, because it writes to the cache."""
        self._drop()
        self._parts["model"].warmup(
            self._parts["cache"], max_chunk_size=self._chunk, max_batch_size=self._batch, long_context=False
        )
        self._start()

    def _handle(self, job: Job, shaping: Shaping) -> Any:
        request = job.request
        return self._module.Job(
            input_ids=self._torch.tensor([request.prompt], dtype=self._torch.long),
            max_new_tokens=job.max_tokens,
            sampler=ShapedSampler(chain(self._module, request.sampling), shaping, len(request.prompt)),
            seed=request.sampling.seed,
            stop_conditions=self._ends,  # stop strings are found by `Writer`
            filters=[GrammarFilter(self._torch, job.matcher)] if job.matcher is not None else [],
            max_rq_tokens=RESERVED_TOKENS,
        )

    def _retire(self, generator: Any) -> None:
        generator.close()
        for job in [*generator.active_jobs, *generator.pending_jobs]:
            job.generator = job.pagetable = None
        generator.model = generator.cache = generator.draft_model = generator.draft_cache = None


class ShapedSampler:
    """The library's sampler with Shaping before it."""

    def __init__(self, inner: Any, shaping: Shaping, prompt: int) -> None:
        self._inner = inner
        self._shaping = shaping
        self._prompt = prompt
        self.reqs_past_ids = shaping.changes or shaping.reports
        """Read by the generator: it then chooses tokens that were guessed ahead one after the other, so that each call
        here belongs to a token that comes."""
        self.reqs_torch_seed = False

    def forward(
        self,
        logits: Any,
        sequence_ids: Any = None,
        rand_u32: int | None = None,
        tokenizer: Any = None,
        logit_mask: Any = None,
    ) -> Any:
        """Logits (1, 1, padded vocabulary) -> the chosen token, (1, 1). `sequence_ids`: (1, n), the prompt's too."""
        flat = logits.view(-1)
        self._shaping.see(flat)
        if self._shaping.changes:
            logits = self._shaping.changed(flat, sequence_ids[0, self._prompt :]).view(logits.shape)
        chosen = self._inner.forward(logits, sequence_ids, rand_u32, tokenizer, logit_mask=logit_mask)
        if self._shaping.reports:
            self._shaping.chose(int(chosen.item()))
        return chosen


class GrammarFilter:
    """A grammar as the library asks for it. It ends with the answer's end token, never by itself.

    It needs no more of the library's own base class than these. None may raise: that would end every job.
    """

    trigger_token = None
    """It holds from the first token on."""

    def __init__(self, torch: Any, matcher: Matcher) -> None:
        self._torch = torch
        self._matcher = matcher
        self._size = 0
        self.is_active = True

    def attach(self, job: Any) -> None:
        """The job has begun."""
        self._size = job.generator.padded_vocab_size

    def reset(self) -> None:
        """Called once, before the first token."""

    def use_background_worker(self) -> bool:
        """The mask is made while the GPU computes, tens of microseconds."""
        return False

    def get_next_logit_mask(self) -> Any:
        """A bit for each token, packed in int32: (1, words)."""
        return self._torch.from_numpy(self._matcher.bits(self._size)).unsqueeze(0)

    def feed(self, token: int) -> bool:
        """The token that came; whether that ends the answer."""
        self._matcher.accept(token)
        return False


def chain(module: Any, sampling: Sampling) -> Any:
    """The library's sampler for what is left when Shaping has done its part. Its defaults are not neutral: all is set."""
    if sampling.temperature <= 0:
        return module.ArgmaxSampler()
    return module.ComboSampler(
        temperature=sampling.temperature, min_p=sampling.min_p, top_k=sampling.top_k, top_p=sampling.top_p
    )


def library() -> Any:
    """exllamav3, imported: only in the worker's thread, and only where there is a GPU. May raise anything."""
    import exllamav3
    import exllamav3.model.lora

    return exllamav3
