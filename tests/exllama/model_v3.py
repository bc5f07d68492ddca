"""exllamav3 as it is installed, over a scripted model: its configuration, model, cache, tokenizer, generator and jobs are real."""

from __future__ import annotations

from typing import Any

import torch

from bot.config import ModelConfig
from bot.engines.exllama import sizing, v3
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder
from tests.exllama import ext_v3
from tests.exllama.script import Script


class Forward:
    """In place of a model's weights. The first KV cache layer keeps, as the first value of each slot, the token that was there."""

    def __init__(self, model: Any, script: Script) -> None:
        self._model = model
        self._script = script

    def prefill(self, input_ids: torch.Tensor, params: dict[str, Any]) -> None:
        self._write(input_ids, params)

    def forward(self, input_ids: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
        size = (self._model.config.vocab_size + 31) // 32 * 32
        logits = torch.zeros((*input_ids.shape, size))
        for row, histories in enumerate(self._write(input_ids, params)):
            for n, history in enumerate(histories):
                logits[row, n] = torch.from_numpy(self._script.logits(history, size))
        return logits

    def _write(self, input_ids: torch.Tensor, params: dict[str, Any]) -> list[list[list[int]]]:
        """Put the new tokens into the cache; what each of them then has before it, itself included, by row."""
        self._script.begin(input_ids.numel())
        layer = next(iter(params["cache"].layers.values()))
        values = layer.sk if hasattr(layer, "sk") else layer.k  # a quantised one has scales of 16 bits
        keys = values.view(*values.shape[:2], -1)
        tables = params["block_table"].view(input_ids.shape[0], -1).tolist()
        found = []
        for row, ids in enumerate(input_ids.tolist()):
            past, histories = int(params["cache_seqlens"][row]), []
            for n, token in enumerate(ids):
                places = [(tables[row][at // 256], at % 256) for at in range(past + n + 1)]
                keys[places[-1][0], places[-1][1], 0] = token
                pages, offsets = zip(*places, strict=True)
                histories.append(keys[list(pages), list(offsets), 0].int().tolist())
            found.append(histories)
        return found


class ScriptedV3(v3.V3):
    """V3 whose weights are a script."""

    def __init__(self, folder: ModelFolder, config: ModelConfig, vocabulary: Vocabulary, script: Script) -> None:
        super().__init__(folder, config, vocabulary)
        self.script = script
        self.models: list[Any] = []

    @property
    def generator(self) -> Any:
        return self._generator

    def load(self) -> None:
        ext_v3.install()
        self._torch = torch
        self._module = v3.library()
        self._open()
        self._start()

    def _plan(self, *, most_context: int | None = None, work_per_token: int = 0) -> sizing.Plan:
        context = self._config.context_length or 2048
        return sizing.Plan(context, self._config.gpu.cache_tokens or context * self.slots)

    def _fill(self, model: Any, name: str) -> None:
        """As the library's loader: memory for each layer of the cache, then the weights."""
        scripted = Forward(model, self.script)
        model.prefill, model.forward = scripted.prefill, scripted.forward
        model.output_device = torch.device("cpu")
        for reference in model.cache_weakrefs.values():
            cache = reference()
            for layer in cache.layers.values():
                layer.alloc(torch.device("cpu"))
            cache.initialized = True
        self.models.append(model)
