"""Trains the demo chat model from nothing on one CPU core and writes it in the Hugging Face layout."""

import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from training.chat.batches import Batches, to_tensors
from training.chat.model import CONTEXT, ROPE_THETA, new_model
from training.chat.template import CHAT_TEMPLATE, END_OF_TEXT, TURN_END
from training.chat.tokenizer import token_id, train_tokenizer

BATCH_TOKENS = 3072
PEAK_LEARNING_RATE = 2e-3
_WARM_UP_STEPS = 100
# Early on most steps are drills: the copy circuit must become robust before the dialogues rely on it.
_DRILL_PHASE, _DRILLS_EARLY, _DRILLS_LATER = 0.12, 0.5, 0.1
_REPORT_EVERY = 50


def learning_rate(step: int, steps: int) -> float:
    """A linear warm-up, then half a cosine down to two hundredths of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def train(tokenizer: Tokenizer, steps: int, seed: int = 1) -> LlamaForCausalLM:
    """A trained model; prints the loss on the assistant's words as it goes."""
    torch.manual_seed(seed)
    padding = token_id(tokenizer, END_OF_TEXT)
    model = new_model(tokenizer.get_vocab_size(), bos=padding, eos=token_id(tokenizer, TURN_END))
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    batches, rng, report = Batches(tokenizer, BATCH_TOKENS, seed), random.Random(seed), _Report()
    for step in range(steps):
        is_drill = rng.random() < (_DRILLS_EARLY if step < _DRILL_PHASE * steps else _DRILLS_LATER)
        ids, weights = to_tensors(batches.drills() if is_drill else batches.dialogues(), padding)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        loss, assistant_loss = losses(model, ids, weights)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        report.add(step, ids.numel(), assistant_loss, is_drill=is_drill)
    return model


def losses(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The weighted loss to minimise, and the plain mean over the fully weighted tokens."""
    kept = weights[:, 1:] > 0
    with torch.autocast("cpu", torch.bfloat16):
        # Only the weighted positions go through the output head: it and its softmax are a fifth of a step.
        hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1][kept]
        logits = model.lm_head(hidden)
    each = F.cross_entropy(logits.float(), ids[:, 1:][kept], reduction="none")
    kept_weights = weights[:, 1:][kept]
    return (each * kept_weights).sum() / kept_weights.sum(), float(each.detach()[kept_weights == 1].mean())


class _Report:
    """Running means of the losses, printed now and then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._tokens = 0
        self._means: dict[bool, float] = {}

    def add(self, step: int, tokens: int, loss: float, *, is_drill: bool) -> None:
        self._tokens += tokens
        self._means[is_drill] = 0.95 * self._means.get(is_drill, loss) + 0.05 * loss
        if step % _REPORT_EVERY == 0:
            wall, cpu = time.monotonic() - self._started, time.process_time()
            dialogues, drills = self._means.get(False, 0.0), self._means.get(True, 0.0)
            print(
                f"step {step} wall {wall:.0f} s cpu {cpu:.0f} s tokens {self._tokens / 1e6:.2f} M "
                f"dialogues {dialogues:.4f} drills {drills:.4f}",
                flush=True,
            )


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes float16 weights, tokenizer and configuration, with the older top-level keys that some engines read alone."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder, safe_serialization=True)  # type: ignore[no-untyped-call]  # as above
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    # transformers 5 writes rope_parameters and dtype only; exllamav2 reads rope_theta and would silently take 10000.
    config |= {"rope_theta": ROPE_THETA, "torch_dtype": "float16"}
    special = {"bos_token": END_OF_TEXT, "eos_token": TURN_END, "pad_token": END_OF_TEXT}
    ids = {name + "_id": token_id(tokenizer, token) for name, token in special.items()}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "unk_token": None,
        "add_bos_token": True,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    for name, value in (("config", config), ("generation_config", ids), ("tokenizer_config", tokenizer_config)):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")


def run(folder: Path, steps: int, seed: int = 1) -> None:
    """Tokenizer, training and files in one go."""
    torch.set_num_threads(1)
    tokenizer = train_tokenizer()
    model = train(tokenizer, steps, seed)
    save(model, tokenizer, folder)
