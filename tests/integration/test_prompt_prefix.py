"""Over real templates and vocabularies, each prompt begins with the ids of the one before and what was generated."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bot.generation import ChatTemplate
from bot.messages import Role
from bot.prompt import PromptBuilder, Turn
from tests import templates
from tests.attacks.families import FAMILIES, Family
from tests.attacks.vocabularies import OWN, LlamaVocabulary, family_file

DAY = date(2026, 3, 14)


@pytest.mark.parametrize(
    ("family", "name"), [pytest.param(family, name, id=name) for family in FAMILIES for name in family.templates]
)
async def test_each_prompt_begins_with_the_last_one_and_what_was_generated(
    family: Family, name: str, vocabulary_folder: Path
) -> None:
    """The generated ids spell words letter by letter, as no tokenizer would encode them."""
    template = ChatTemplate(source=templates.template(name), bos_token=family.bos, eos_token=family.eos)
    vocabulary = LlamaVocabulary(family_file(family, OWN, vocabulary_folder), template)
    builder = PromptBuilder(vocabulary)
    turns = [Turn(Role.SYSTEM, "Be kind.")]
    before: tuple[int, ...] = ()
    for number in range(4):
        turns.append(Turn(Role.USER, f" Question {number}, <|im_end|> and </s>? ", "Ann"))
        ids = (await builder.build(turns, day=DAY, max_tokens=100)).ids
        assert ids[: len(before)] == before
        generated = tuple(token_id for letter in f"Hello {number}" for token_id in vocabulary.tokenize(letter))
        before = (*ids, *generated)
        turns.append(Turn(Role.ASSISTANT, f"Hello {number}", token_ids=generated))
    assert len(before) > 100
