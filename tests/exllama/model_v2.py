"""exllamav2 as it is installed, over a scripted model: its configuration, caches, tokenizer, generator and jobs are real."""

from __future__ import annotations

from typing import Any

import torch

from bot.config import ModelConfig
from bot.engines.exllama import sizing, v2
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder
from tests.exllama import ext_v2
from tests.exllama.script import Script


class ScriptedModel:
    """In place of exllamav2.ExLlamaV2. The KV cache's first value of each slot keeps the token that was there."""

    def __init__(self, config: Any, script: Script) -> None:
        self.config = config
        self.script = script
        self.cache_map: dict[int, str] = {}
        self.loaded = True

    def forward_chunk(
        self, input_ids: torch.Tensor, *, attn_params: Any, cache: Any, preprocess_only: bool = False, **_: Any
    ) -> dict[str, torch.Tensor]:
        self.script.begin(input_ids.numel())
        keys = cache.key_states[0]
        size = (self.config.vocab_size + 31) // 32 * 32
        logits = torch.zeros((*input_ids.shape, size))
        for row, ids in enumerate(input_ids.tolist()):
            for n, token in enumerate(ids):
                slots = self._slots(attn_params, row, n)
                keys[0, slots[-1], 0, 0] = token
                if not preprocess_only:
                    history = keys[0, slots, 0, 0].int().tolist()
                    logits[row, n] = torch.from_numpy(self.script.logits(history, size))
        return {"logits": logits}

    def _slots(self, params: Any, row: int, n: int) -> list[int]:
        """Where the tokens up to the n-th new one lie."""
        if not params.paged:
            return list(range(params.past_len + n + 1))
        size = params.page_size
        pages = params.block_index[row].tolist()
        end = int(params.cache_seqlens[row]) + n + 1
        return [pages[at // size] * size + at % size for at in range(end)]

    def unload(self) -> None:
        self.loaded = False


class ScriptedV2(v2.V2):
    """V2 whose weights are a script; `paged` stands for flash-attn."""

    def __init__(
        self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary, script: Script, *, paged: bool = True
    ) -> None:
        super().__init__(folder, config, vocabulary)
        self.script = script
        self.paged = paged
        self.models: list[ScriptedModel] = []

    @property
    def generator(self) -> Any:
        return self._generator

    def load(self) -> None:
        ext_v2.install()
        self._torch = torch
        self._module = v2.library()
        self._module.attn.has_flash_attn_with_paged = self.paged
        self._module.generator.dynamic.cuda_sync_active = lambda: None
        self._open()
        self._start()
        self._generator.warmup()

    def _plan(self, *, most_context: int | None = None, work_per_token: int = 0) -> sizing.Plan:
        context = self._config.context_length or 2048
        return sizing.Plan(context, self._config.gpu.cache_tokens or context * self.slots)

    def _model(self, config: Any) -> Any:
        model = ScriptedModel(config, self.script)
        self.models.append(model)
        return model

    def _filled(self, model: Any, tokens: int, name: str) -> Any:
        return self._module.ExLlamaV2Cache(model, max_seq_len=tokens)
