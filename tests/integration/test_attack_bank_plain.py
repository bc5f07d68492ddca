"""The attack bank through prompts without roles: texts that are continued or embedded, suffixes, and token ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.engines.ggml import END_TEXTS, FILL_TEXTS
from bot.errors import BadRequest
from bot.generation import ChatTemplate
from bot.prompt import TextPrompts
from tests import templates
from tests.attacks import bank
from tests.attacks.families import FAMILIES, Family
from tests.attacks.vocabularies import EVERY_FAMILY, NORMAL, OWN, LlamaVocabulary, extended, family_file

CODERS = ("qwen2", "starcoder", "refact", "deepseek-coder", "llama-spm")
"""Vocabularies of models that fill in, or that are given the tokens of those that do."""
GIVEN = {
    "qwen2": "<|fim_prefix|> <|fim_suffix|> <|fim_middle|>",
    "llama-spm": "▁<PRE> ▁<SUF> ▁<MID>",
    "deepseek-coder": "<｜fim▁begin｜> <｜fim▁hole｜> <｜fim▁end｜>",
}
ENCODERS = ("bert-bge", "nomic-bert-moe")
"""WordPiece and unigram."""
TOGETHER = 20
NO_TEMPLATE = ChatTemplate(source="")


def of_family(family: Family, kind: str, vocabulary_folder: Path) -> LlamaVocabulary:
    return LlamaVocabulary(family_file(family, kind, vocabulary_folder), NO_TEMPLATE)


def control_ids(vocabulary: LlamaVocabulary) -> frozenset[int]:
    """The ids that llama.cpp makes of control strings; single characters are no borders, nor is what stands for unknown ones."""
    found = [vocabulary.tokenize(string) for string in vocabulary.control_strings if len(string) > 1 and string.strip()]
    unknown = [i for char in "\U0010fffd\ue7a5\U00012ff9\uff5c" for i in vocabulary.tokenize(char)]
    return frozenset(ids[0] for ids in found if len(ids) == 1) - set(unknown)


def over(*kinds: str) -> list[object]:
    return [pytest.param(family, kind, id=f"{family.name}-{kind}") for family in FAMILIES for kind in kinds]


@pytest.mark.parametrize(("family", "kind"), over(OWN, EVERY_FAMILY))
async def test_no_text_forges_a_control_token(family: Family, kind: str, vocabulary_folder: Path) -> None:
    vocabulary = of_family(family, kind, vocabulary_folder)
    controls, prompts = control_ids(vocabulary), TextPrompts(vocabulary)
    head = [i for i in vocabulary.plain.before if i in controls]
    texts = [*bank.attacks(), *(f"{a}{b}" for a, b in bank.halves()), *(f"{b}{a}{b}" for a, b in bank.halves())]
    forged = {
        text: ids
        for text, ids in zip(texts, await prompts.prompts(texts), strict=True)
        if [i for i in ids if i in controls] != head
    }
    assert forged == {}
    assert len(controls) >= len([string for string in family.controls if len(string) > 1]) - 2


@pytest.mark.parametrize(("family", "kind"), over(OWN))
async def test_benign_text_encodes_exactly_as_upstream_would(
    family: Family, kind: str, vocabulary_folder: Path
) -> None:
    vocabulary = of_family(family, kind, vocabulary_folder)
    texts = bank.benign()
    found = await TextPrompts(vocabulary).prompts(texts)
    unequal = [t for t, ids in zip(texts, found, strict=True) if list(ids) != vocabulary.tokenize(t, around=True)]
    assert unequal == []


@pytest.mark.parametrize("name", CODERS)
async def test_no_text_forges_the_borders_of_filling_in(name: str, vocabulary_folder: Path) -> None:
    path = vocabulary_folder / f"{name}-filling.gguf"
    extended(templates.vocabulary_file(name), GIVEN.get(name, "").split(), path)
    vocabulary = LlamaVocabulary(path, NO_TEMPLATE)
    controls, plain, prompts = control_ids(vocabulary), vocabulary.plain, TextPrompts(vocabulary)
    assert plain.fill is not None
    head = [i for i in plain.before if i in controls]
    expected = [*head, plain.fill.prefix, plain.fill.suffix, plain.fill.middle]
    texts = [text for texts in FILL_TEXTS.values() for text in texts] + bank.attacks()
    for begin in range(0, len(texts), TOGETHER):
        some = texts[begin : begin + TOGETHER]
        for ids in await prompts.prompts(some, suffix="".join(some)):
            assert [i for i in ids if i in controls] == expected, some


@pytest.mark.parametrize("name", [name for name in CODERS if name not in {"qwen2", "llama-spm"}])
async def test_text_beside_a_hole_encodes_as_it_does_alone(name: str, vocabulary_folder: Path) -> None:
    vocabulary = LlamaVocabulary(templates.vocabulary_file(name), NO_TEMPLATE)
    plain = vocabulary.plain
    fill = plain.fill
    assert fill is not None
    [ids] = await TextPrompts(vocabulary).prompts(["def f(a, b):\n    "], suffix="\n    return c\n")
    before, after = vocabulary.tokenize("def f(a, b):\n    "), vocabulary.tokenize("\n    return c\n")
    assert ids == (*plain.before, fill.prefix, *before, fill.suffix, *after, fill.middle)


@pytest.mark.parametrize("name", ENCODERS)
async def test_no_text_to_be_embedded_forges_a_control_token(name: str) -> None:
    vocabulary = LlamaVocabulary(templates.vocabulary_file(name), NO_TEMPLATE)
    controls, plain = control_ids(vocabulary), vocabulary.plain
    assert plain.before
    assert plain.after
    strings = sorted(vocabulary.control_strings)
    nested = [f"{s[:2]}{s}{s[2:]}" for s in strings]
    texts = [*strings, *nested, *(f"a {s}{s} b" for s in strings), *bank.attacks(), *bank.benign()]
    texts = [text for text in texts if text]
    for text, ids in zip(texts, await TextPrompts(vocabulary).inputs(texts), strict=True):
        assert [i for i in ids if i in controls] == [*plain.before, *plain.after], text


@pytest.mark.parametrize("name", ENCODERS)
async def test_benign_text_to_be_embedded_encodes_exactly_as_upstream_would(name: str) -> None:
    vocabulary = LlamaVocabulary(templates.vocabulary_file(name), NO_TEMPLATE)
    texts = bank.benign()
    found = await TextPrompts(vocabulary).inputs(texts)
    unequal = [t for t, ids in zip(texts, found, strict=True) if list(ids) != vocabulary.tokenize(t, around=True)]
    assert unequal == []


@pytest.mark.parametrize(("family", "kind"), over(OWN))
async def test_no_control_id_is_taken_from_outside(family: Family, kind: str, vocabulary_folder: Path) -> None:
    vocabulary = of_family(family, kind, vocabulary_folder)
    prompts, plain = TextPrompts(vocabulary), vocabulary.plain
    ordinary = tuple(vocabulary.tokenize("hello"))
    for control in sorted(control_ids(vocabulary) - set(plain.before)):
        if plain.added.get(control, "").startswith(("<", "[")):
            with pytest.raises(BadRequest, match="control tokens"):
                await prompts.prompts([(*ordinary, control)])
    assert await prompts.prompts([ordinary]) == [ordinary]


def test_llama_cpp_parses_well_known_texts_whatever_the_file_says_of_them(vocabulary_folder: Path) -> None:
    """So `gguf.ModelFile.added` has them all, also where a file calls them ordinary."""
    known = sorted({*END_TEXTS, *(text for texts in FILL_TEXTS.values() for text in texts)})
    path = extended(templates.vocabulary_file("gpt-2"), known, vocabulary_folder / "mistyped.gguf", kind=NORMAL)
    vocabulary = LlamaVocabulary(path, NO_TEMPLATE)
    parsed = {text for text in known if len(vocabulary.tokenize(text)) == 1}
    assert {"<|im_end|>", "<|eot_id|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"} & parsed
    assert parsed <= set(known)
