"""Trains the demo speech model from nothing on the CPU, and keeps a checkpoint that can be exported at any time."""

import math
import pickle
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import WhisperForConditionalGeneration

from training.speech.batches import IGNORED, Batch, Batches
from training.speech.model import WIDTH, decode, encode, new_model
from training.speech.recordings import training_examples
from training.speech.tokenizer import make_tokenizer

RECORDINGS = 26_000
PEAK_LEARNING_RATE = 2e-3
_WARM_UP_STEPS, _DECAY_SHARE = 200, 0.35
# Up to this step, recordings are no longer than so many frames.
_GROWTH = ((960, 350), (2200, 800), (3000, 1600))
_ALL_FRAMES = 3000
# What the frames are helps the encoder to begin at all; in the end only the text counts.
_FRAME_LOSS, _FRAME_LOSS_LATER, _LATER = 1.0, 0.1, 0.5
_ATTENTION_LOSS = 0.2
_REPORT_EVERY, _SAVE_SECONDS = 100, 300


def learning_rate(step: int, steps: int) -> float:
    """A warm-up, a plain, and half a cosine down to a hundredth."""
    left = (steps - step) / (_DECAY_SHARE * steps)
    decay = 1.0 if left >= 1 else 0.01 + 0.99 * 0.5 * (1 - math.cos(math.pi * left))
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * decay


def longest_frames(step: int) -> int:
    """How long recordings may be at this step: short ones first."""
    return next((frames for last, frames in _GROWTH if step < last), _ALL_FRAMES)


class Trainee(nn.Module):
    """The model, and two layers that name the phoneme and the word of every frame; those are dropped in the end."""

    def __init__(self, model: WhisperForConditionalGeneration, phonemes: int, words: int) -> None:
        super().__init__()
        self.model = model
        self.phonemes = nn.Linear(WIDTH, phonemes)
        self.words = nn.Linear(WIDTH, words)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean losses of the text's tokens, of the frames' labels, and of the attention's place."""
        with torch.autocast("cpu", torch.bfloat16):
            memory = encode(self.model, batch.mel)
            decoded = decode(self.model, batch.tokens, memory)
            kept = batch.targets != IGNORED
            logits = decoded.states[kept] @ self.model.model.decoder.embed_tokens.weight.T
            frames = batch.phonemes.shape[1]
            phonemes = self.phonemes(F.layer_norm(memory.middle[:, :frames], (WIDTH,)))
            words = self.words(memory.states[:, :frames])
        places = zip(decoded.attention, (batch.here, batch.following), strict=True)
        return {
            "text": F.cross_entropy(logits.float(), batch.targets[kept]),
            "phonemes": F.cross_entropy(phonemes.float().flatten(0, 1), batch.phonemes.flatten()),
            "words": F.cross_entropy(words.float().flatten(0, 1), batch.words.flatten()),
            "attention": sum((_off_place(attention, place) for attention, place in places), torch.zeros(())),
        }


def _off_place(attention: Tensor, place: Tensor) -> Tensor:
    """How much of the attention (in logs) is not where it belongs, for the tokens that belong somewhere."""
    frames = min(attention.shape[2], place.shape[2])
    place = place[:, :, :frames]
    kept = place.any(2)
    if not kept.any():
        return torch.zeros(())
    inside = attention[:, :, :frames][kept].masked_fill(~place[kept], -math.inf)
    return -inside.logsumexp(1).mean()


def _optimizers(trainee: Trainee) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    named = [(name, weight) for name, weight in trainee.named_parameters() if weight.requires_grad]
    is_inner = {name: weight.ndim == 2 and ".layers." in name for name, weight in named}
    inner = [weight for name, weight in named if is_inner[name]]
    outer = [weight for name, weight in named if not is_inner[name]]
    return [
        torch.optim.Muon(inner, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]


def train(batches: Batches, trainee: Trainee, steps: int, checkpoint: Path) -> None:
    """Trains in place; goes on from the checkpoint if there is one."""
    optimizers = _optimizers(trainee)
    first = _go_on(checkpoint, trainee, optimizers) if checkpoint.exists() else 0
    batches.go_on(first)
    report, saved_at = _Report(), time.monotonic()
    for step in range(first, steps):
        losses = trainee.losses(batches.draw(longest_frames(step)))
        frame_loss = _FRAME_LOSS if step < _LATER * steps else _FRAME_LOSS_LATER
        total = (
            losses["text"] + frame_loss * (losses["phonemes"] + losses["words"]) + _ATTENTION_LOSS * losses["attention"]
        )
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            optimizer.step()
        report.add(step, losses)
        if time.monotonic() - saved_at > _SAVE_SECONDS or step + 1 == steps:
            _save(checkpoint, trainee, optimizers, step + 1)
            saved_at = time.monotonic()


def _go_on(checkpoint: Path, trainee: Trainee, optimizers: list[torch.optim.Optimizer]) -> int:
    state = torch.load(checkpoint, weights_only=True)
    trainee.load_state_dict(state["trainee"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _save(checkpoint: Path, trainee: Trainee, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    unfinished = checkpoint.with_suffix(".new")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"trainee": trainee.state_dict(), "optimizers": states, "step": step}, unfinished)
    unfinished.replace(checkpoint)


class _Report:
    """Running means of the losses, printed now and then."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._means: dict[str, float] = {}

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            value = float(loss.detach())
            self._means[name] = 0.97 * self._means.get(name, value) + 0.03 * value
        if step % _REPORT_EVERY == 0:
            wall, cpu = time.monotonic() - self._started, time.process_time()
            means = " ".join(f"{name} {mean:.3f}" for name, mean in self._means.items())
            print(f"step {step} wall {wall:.0f} s cpu {cpu:.0f} s {means}", flush=True)


def run(folder: Path, steps: int, seed: int, threads: int) -> None:
    """Recordings, tokenizer and training in one go; what `folder` already has is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    made = folder / "examples.pkl"
    if not made.exists():
        made.write_bytes(pickle.dumps(training_examples(RECORDINGS, seed, threads)))
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    batches = Batches(pickle.loads(made.read_bytes()), tokenizer, seed)
    model = new_model(tokenizer, seed)
    print("parameters", sum(weight.numel() for weight in model.parameters()), flush=True)
    train(batches, Trainee(model, batches.phoneme_classes, batches.word_classes), steps, folder / "checkpoint.pt")
