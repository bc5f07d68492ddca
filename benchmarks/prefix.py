"""How much of a long conversation is read again? Prompt tokens evaluated over tokens that entered the window.

A script of 300 turns (40 tokens asked, 60 answered) goes through the embedded model twice: with Hearth's window, and with
one that leaves out its oldest message as often as it must. Both have the same engine, template and room. The answers are
decoded for real, so that the cache is what it would be; decoding is not counted as evaluating. Deterministic.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from benchmarks.report import Aim, Row, Table, run, scratch_directory
from benchmarks.script import ANSWERED, ASKED, questions
from bot.config import DEFAULT_SYSTEM_PROMPT, EMBEDDED_CHAT_MODEL, ModelConfig
from bot.engines import gguf
from bot.engines.llamacpp import LlamaCppEngine
from bot.generation import Delta, Finish, Generation, Sampling, Usage
from bot.messages import Role
from bot.ports import ChatEngine
from bot.prompt import PromptBuilder, Turn

TURNS = 300
CONTEXT, ROOM = 2048, 1536
"""The embedded model's window, and what is left of it when a quarter is held free for the answer, as bot.answering does."""
AIM = Aim(1.3)
DAY = date(2026, 1, 1)
NEVER = -100.0


@dataclass
class Conversation:
    """A conversation as its store would keep it, and what its prompts have cost so far."""

    turns: list[Turn]
    start: int = 1
    """The first turn in the window, after the system message: the stored cut."""
    evaluated: int = 0
    largest: int = 0
    prompts: list[int] = field(default_factory=list)
    """The tokens of each prompt."""

    @property
    def window(self) -> list[Turn]:
        """The system message, and the turns from the cut."""
        return [self.turns[0], *self.turns[self.start :]]

    def count(self, usage: Usage) -> None:
        """Add what a prompt cost."""
        cost = usage.prompt_tokens - usage.cached_tokens
        self.evaluated += cost
        self.largest = max(self.largest, cost)
        self.prompts.append(usage.prompt_tokens)


Fit = Callable[[PromptBuilder, Conversation], Awaitable[tuple[int, ...]]]
"""A kind of window: the next prompt of a conversation, whose `start` may move."""


class Endless:
    """A vocabulary with room for everything, to count the tokens of a whole conversation."""

    context_length = 10**9

    def __init__(self, engine: ChatEngine) -> None:
        self.control_strings = engine.control_strings
        self.template = engine.template
        self.encode = engine.encode


async def cut_seldom(builder: PromptBuilder, conversation: Conversation) -> tuple[int, ...]:
    """Hearth's window: `PromptBuilder` cuts, and the cut is kept."""
    prompt = await builder.build(conversation.window, day=DAY, max_tokens=CONTEXT - ROOM)
    if prompt.cut:
        conversation.start += prompt.turns_from - 1
    return prompt.ids


async def slide(builder: PromptBuilder, conversation: Conversation) -> tuple[int, ...]:
    """The other one: the oldest message is left out until the rest fits."""
    while True:
        # No room for an answer is asked for, so that what fits into ROOM is below the mark of the builder's own cut.
        prompt = await builder.build(conversation.window, day=DAY, max_tokens=0)
        if not prompt.cut and len(prompt.ids) <= ROOM:
            return prompt.ids
        conversation.start += 1


async def ask(engine: ChatEngine, ids: tuple[int, ...], bias: dict[int, float]) -> tuple[Turn, Usage]:
    """The answer's turn, of exactly ANSWERED tokens, and what it cost."""
    sampling = Sampling(temperature=0.0, logit_bias=bias)
    written: list[int] = []
    text, usage = "", Usage()
    async for event in engine.stream(Generation(prompt=ids, max_tokens=ANSWERED, sampling=sampling)):
        if isinstance(event, Delta):
            text += event.text
            written += event.token_ids
        elif isinstance(event, Finish):
            usage = event.usage
    assert len(written) == ANSWERED, f"an answer of {len(written)} tokens"
    return Turn(Role.ASSISTANT, text, token_ids=tuple(written)), usage


async def converse(engine: ChatEngine, fit: Fit, questions: Sequence[str], bias: dict[int, float]) -> Conversation:
    """Hold the whole conversation with one kind of window."""
    builder = PromptBuilder(engine)
    conversation = Conversation([Turn(Role.SYSTEM, DEFAULT_SYSTEM_PROMPT)])
    for question in questions:
        conversation.turns.append(Turn(Role.USER, question))
        answer, usage = await ask(engine, await fit(builder, conversation), bias)
        conversation.turns.append(answer)
        conversation.count(usage)
    return conversation


async def count_entered(engine: ChatEngine, conversation: Conversation) -> int:
    """Every token of the conversation, once: system message, questions, answers, template."""
    turns = conversation.turns[:-1]  # the last answer is in no prompt
    return len((await PromptBuilder(Endless(engine)).build(turns, day=DAY, max_tokens=0)).ids)


def unwanted(file: gguf.ModelFile) -> dict[int, float]:
    """A bias against whatever would make an answer shorter, or its text other than its ids: only plain ASCII is left."""
    plain = {i for i in range(len(file.tokens)) if (text := file.token_bytes(i)).isascii() and text.isalpha()}
    return {i: NEVER for i in range(len(file.tokens)) if i not in plain}


async def measure() -> AsyncIterator[Table]:
    """Run both conversations."""
    model = ModelConfig(path=EMBEDDED_CHAT_MODEL, context_length=CONTEXT, threads=1)
    bias = unwanted(gguf.read(model.path))
    with scratch_directory() as folder:
        engine = await LlamaCppEngine.load("embedded", model, folder)
        try:
            script = await questions(engine, TURNS)
            ours, other = [await converse(engine, fit, script, bias) for fit in (cut_seldom, slide)]
            entered = [await count_entered(engine, conversation) for conversation in (ours, other)]
        finally:
            await engine.aclose()
    rows = [
        _row("Hearth: cut at 90 % down to 40 %", ours, entered[0], AIM),
        _row("the same engine, sliding by one message", other, entered[1], None),
    ]
    title = f"prefix: {TURNS} turns of {ASKED} + {ANSWERED} tokens in a window of {CONTEXT} ({ROOM} for the prompt)"
    columns = ("entered", "evaluated", "largest prompt's cost", "mean prompt", "evaluated / entered")
    whole = (ours.evaluated + TURNS * ANSWERED) / entered[0]
    note = (
        f"In tokens. The {TURNS * ANSWERED} tokens of the answers entered the window by being decoded; were decoding "
        f"counted as evaluating, Hearth's figure would be {whole:.2f}."
    )
    yield Table(title, columns, rows, [note])


def _row(what: str, conversation: Conversation, entered: int, aim: Aim | None) -> Row:
    ratio = conversation.evaluated / entered
    mean = sum(conversation.prompts) / len(conversation.prompts)
    figures = (str(entered), str(conversation.evaluated), str(conversation.largest), f"{mean:.0f}", f"{ratio:.2f}")
    return Row(what, figures, aim, ratio)


if __name__ == "__main__":
    run(measure())
