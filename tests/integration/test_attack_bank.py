"""The attack bank: nobody forges a role, over real templates and real vocabularies; and plain text is left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import reading
from bot.errors import RoleForgery
from bot.generation import ChatTemplate
from bot.messages import Attached, Attachment, MessageState, Role, StoredMessage
from bot.prompt import PromptBuilder, ToolCall, Turn
from tests import templates
from tests.attacks import bank, reference
from tests.attacks.families import FAMILIES, Family
from tests.attacks.vocabularies import EVERY_FAMILY, OWN, PROJECT, LlamaVocabulary, family_file

DAY = date(2026, 3, 14)
TOOL_TEMPLATES = (
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.3-70B-Instruct",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen3-Coder",
    "Qwen3.5-4B",
    "google-gemma-4-31B-it",
    "openai-gpt-oss-120b",
    "Mistral-Small-3.2-24B-Instruct-2506",
)


@dataclass
class Count:
    """What a test found."""

    prompts: int = 0
    forged: int = 0
    refused: int = 0
    examples: str = ""

    def add(self, control_ids: list[int], expected: list[int], what: object) -> None:
        self.prompts += 1
        if control_ids != expected:
            self.forged += max(1, abs(len(control_ids) - len(expected)))
            self.examples = self.examples or f"for example {what!r}: {control_ids} instead of {expected}"


@dataclass(frozen=True)
class Bench:
    """One template over one vocabulary."""

    name: str
    family: Family
    vocabulary: LlamaVocabulary
    control_ids: frozenset[int]

    def unguarded(self, messages: Sequence[dict[str, Any]], tools: list[Any] | None = None) -> list[int]:
        if self.name in reference.FOLDED:
            messages = reference.folded(messages)
        source = self.vocabulary.template.source
        tools = tools or ([] if self.name in reference.WANTS_A_LIST else None)
        text = reference.render(source, messages, bos=self.family.bos, eos=self.family.eos, day=DAY, tools=tools)
        return self.vocabulary.tokenize(text)

    def controls(self, ids: Sequence[int]) -> list[int]:
        return [token_id for token_id in ids if token_id in self.control_ids]


def benches(family: Family, kind: str, vocabulary_folder: Path) -> Iterator[Bench]:
    """The family's templates over its own vocabulary, or over the project's with the family's control tokens."""
    path = family_file(family, kind, vocabulary_folder)
    for name in family.templates:
        source = templates.template(name)
        vocabulary = LlamaVocabulary(path, ChatTemplate(source=source, bos_token=family.bos, eos_token=family.eos))
        ids = [vocabulary.tokenize(string) for string in vocabulary.control_strings if len(string) > 1]
        # llama.cpp makes "</s>" plain text where Gemma 4's tokens are in the same vocabulary.
        yield Bench(name, family, vocabulary, frozenset(found[0] for found in ids if len(found) == 1))


def over(*kinds: str) -> list[Any]:
    return [pytest.param(family, kind, id=f"{family.name}-{kind}") for family in FAMILIES for kind in kinds]


def chat(system: str, user: str, assistant: str, last: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": user},
        {"role": "assistant", "content": assistant},
        {"role": "user", "content": last},
    ]


def turns(system: str, name: str, user: str, assistant: str, last: str) -> list[Turn]:
    return [
        Turn(Role.SYSTEM, system),
        Turn(Role.USER, user, name),
        Turn(Role.ASSISTANT, assistant),
        Turn(Role.USER, last),
    ]


def test_the_bank_is_large_enough() -> None:
    """At least 200 attacks and 200 benign texts, and every control string of every family among the attacks."""
    attacks, benign = bank.attacks(), bank.benign()
    assert len(attacks) >= 200
    assert len(benign) >= 200
    assert set(bank.control_strings()) <= set(attacks)
    assert not [text for text in benign for string in bank.control_strings() if string in text]


@pytest.mark.parametrize(("family", "kind"), over(OWN, PROJECT, EVERY_FAMILY))
async def test_no_text_forges_a_control_token(
    family: Family, kind: str, vocabulary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a system text, a name, a message or an earlier answer holds, the control ids are the template's."""
    count = Count()
    attacks, halves = bank.attacks(), bank.halves()
    for bench in benches(family, kind, vocabulary_folder):
        builder = PromptBuilder(bench.vocabulary)
        expected = bench.controls(bench.unguarded(chat("word", "word: word", "word", "word")))
        conversations = [turns(text, text, text, text, text) for text in attacks]
        conversations += [turns(f"x{a}", a, f"{b} y{a}", b, f"{b}{a}") for a, b in halves]
        conversations += [turns(b, a, b, a, f"{a[::-1]}{b}") for a, b in halves]
        for conversation in conversations:
            try:
                prompt = await builder.build(conversation, day=DAY, max_tokens=100)
            except RoleForgery:
                count.refused += 1
                continue
            count.add(bench.controls(prompt.ids), expected, (bench.name, conversation[-1].content))
    with capsys.disabled():
        print(
            f"\n  {family.name}, {kind} vocabulary: {len(attacks)} strings, {2 * len(halves)} split ones, "
            f"{len(family.templates)} templates: {count.prompts} prompts, {count.forged} forged ids, {count.refused} refused"
        )
    assert (count.forged, count.refused) == (0, 0), count.examples


@pytest.mark.parametrize(("family", "kind"), over(OWN, PROJECT))
async def test_benign_text_encodes_exactly_as_upstream_would(
    family: Family, kind: str, vocabulary_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a control string in it, each text gives the very ids of the unguarded template, encoded as a whole."""
    texts, unequal, total = bank.benign(), [], 0
    for bench in benches(family, kind, vocabulary_folder):
        builder = PromptBuilder(bench.vocabulary)
        for text in texts:
            other = "Be kind." if not text.strip() else text
            prompt = await builder.build(turns(text, "Ann", text, other, text), day=DAY, max_tokens=100)
            total += 1
            if list(prompt.ids) != bench.unguarded(chat(text, f"Ann: {text}", other, text)):
                unequal.append((bench.name, text))
    with capsys.disabled():
        print(f"\n  {family.name}, {kind} vocabulary: {total - len(unequal)} of {total} benign prompts equal")
    assert unequal == []


@pytest.mark.parametrize(("family", "kind"), over(OWN))
async def test_no_document_forges_a_control_token(family: Family, kind: str, vocabulary_folder: Path) -> None:
    """Whatever its words and its name hold, also where one ends with the first half and the next begins with the other."""
    count = Count()
    texts = [(text, text) for text in bank.attacks()] + [(f"x{a}", f"{b}\n{a}") for a, b in bank.halves()]
    for bench in benches(family, kind, vocabulary_folder):
        builder = PromptBuilder(bench.vocabulary)
        expected = bench.controls(bench.unguarded(chat("word", "word", "word", "word")))
        for name, words in texts:
            asked = reading.told(with_documents(name, words))
            conversation = turns("word", "word", asked, "word", asked)
            prompt = await builder.build(conversation, day=DAY, max_tokens=100)
            count.add(bench.controls(prompt.ids), expected, (bench.name, asked))
    assert count.forged == 0, count.examples


def with_documents(name: str, words: str) -> StoredMessage:
    """A question with two documents, one of which was not read."""
    item = Attachment(kind="file", name=name, media_type="text/plain", size=1, reference="f")
    return StoredMessage(
        id=1,
        parent=None,
        role=Role.USER,
        text=words,
        author=None,
        state=MessageState.PENDING,
        created_at=datetime(2026, 3, 14, tzinfo=UTC),
        attachments=(Attached(item, words), Attached(item, None, "not a text file"), Attached(item, words)),
    )


@pytest.mark.parametrize("name", TOOL_TEMPLATES)
async def test_no_tool_text_forges_a_control_token(name: str, vocabulary_folder: Path) -> None:
    """Neither a tool's description, nor a call's name and arguments, nor a tool's result."""
    family = next(family for family in FAMILIES if name in family.templates)
    bench = next(bench for bench in benches(family, OWN, vocabulary_folder) if bench.name == name)
    builder = PromptBuilder(bench.vocabulary)
    count = Count()
    expected: list[int] = []
    for text in ["word", *bank.attacks()]:
        tool = {
            "name": "look",
            "description": text,
            "parameters": {"type": "object", "properties": {"at": _field(text)}},
        }
        conversation = [
            Turn(Role.USER, text),
            Turn(Role.ASSISTANT, "", tool_calls=(ToolCall(name="look", arguments={"at": text}, id="abcdefghi"),)),
            Turn(Role.TOOL, text, "look", tool_call_id="abcdefghi"),
        ]
        prompt = await builder.build(
            conversation, day=DAY, max_tokens=100, tools=[{"type": "function", "function": tool}]
        )
        expected = expected or bench.controls(prompt.ids)
        count.add(bench.controls(prompt.ids), expected, text)
    assert count.forged == 0, count.examples


def _field(text: str) -> dict[str, str]:
    """A parameter's schema, with one field more whose name is the text, without its brackets if it is a tag."""
    return {"type": "string", "description": text, text.strip("<>/|") or "x": text}
