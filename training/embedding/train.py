"""The training: each text must be nearest to its partner among all of a batch, also by its first numbers alone."""

import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional as F

from training.embedding.model import HIDDEN, Encoder
from training.embedding.pairs import Pairs
from training.embedding.tokenizer import PAD, train_tokenizer
from training.embedding.wordnet import read

BATCH = 512
LONGEST = 32
"""Tokens of a training text; the rest is cut off."""
SIZES = (HIDDEN, HIDDEN // 2, HIDDEN // 4)
"""So many of the first numbers must do alone: the `dimensions` that a program may ask for."""
SHARPNESS = 20.0
PEAK_LEARNING_RATE = 2e-3
_WARM_UP_STEPS = 100
_REPORT_EVERY = 50
_TOGETHER = 128


def learning_rate(step: int, steps: int) -> float:
    """A linear warm-up, then half a cosine down to a hundredth of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.01 + 0.99 * cosine)


def places(model: Encoder, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """(texts, HIDDEN). Texts of like length go together, so that little of the work is on padding."""
    found = [encoding.ids[:LONGEST] for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(found)), key=lambda i: len(found[i]))
    parts = []
    with torch.autocast("cpu", torch.bfloat16):
        for begin in range(0, len(order), _TOGETHER):
            rows = [found[i] for i in order[begin : begin + _TOGETHER]]
            longest = len(rows[-1])
            parts.append(model(torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in rows]), PAD))
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts).float()[back]


def loss_of(one: torch.Tensor, other: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """The mean over SIZES of how badly partners are found, both ways. `same`: pairs that are about the same thing."""
    target = torch.arange(len(one))
    losses = []
    for size in SIZES:
        scores = SHARPNESS * F.normalize(one[:, :size]) @ F.normalize(other[:, :size]).T
        scores = scores.masked_fill(same, -1e4)
        losses += [F.cross_entropy(scores, target), F.cross_entropy(scores.T, target)]
    return torch.stack(losses).mean()


def train(tokenizer: Tokenizer, pairs: Pairs, steps: int, seed: int) -> Encoder:
    """A trained model; prints the loss as it goes."""
    torch.manual_seed(seed)
    model = Encoder(tokenizer.get_vocab_size())
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    began, mean = time.monotonic(), 0.0
    for step in range(steps):
        batch = pairs.batch(BATCH)
        about = {key: number for number, (_, _, key) in enumerate(batch)}
        number = torch.tensor([about[key] for _, _, key in batch])
        same = (number[:, None] == number[None, :]) & ~torch.eye(len(batch), dtype=torch.bool)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        one, other = (places(model, tokenizer, [pair[side] for pair in batch]) for side in (0, 1))
        loss = loss_of(one, other, same)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % _REPORT_EVERY == 0:
            print(
                f"step {step} wall {time.monotonic() - began:.0f} s cpu {time.process_time():.0f} s loss {mean:.3f}",
                flush=True,
            )
    return model


def run(dictionary: Path, root: Path, folder: Path, steps: int, seed: int) -> None:
    """Tokenizer, training and files in one go."""
    torch.set_num_threads(1)
    synsets = read(dictionary)
    tokenizer = train_tokenizer(synsets, root)
    model = train(tokenizer, Pairs(synsets, dictionary, root, seed), steps, seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "run.json").write_text(json.dumps({"steps": steps, "seed": seed}) + "\n")
