"""Generated ids -> text: whole characters, stop strings, and nothing that is lost when the end comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.engines.exllama.grammar import Grammars, Matcher
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import look
from bot.engines.exllama.writing import Writer
from bot.errors import BadRequest
from bot.generation import Generation, TokenLogprob

DEMO = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(look(DEMO))


def written(vocabulary: Vocabulary, text: str, *stops: str) -> tuple[list[str], list[int], bool]:
    """What comes of a text's ids, one at a time: the pieces, the ids, and whether a stop string came."""
    writer = Writer(vocabulary, stops)
    [ids] = vocabulary.encode([text])
    deltas = [writer.feed([id_]) for id_ in ids if not writer.stopped]
    deltas.append(writer.finish())
    return [delta.text for delta in deltas], [id_ for delta in deltas for id_ in delta.token_ids], writer.stopped


def test_characters_come_whole_with_their_ids(vocabulary: Vocabulary) -> None:
    for text in ("Héllo, 😀 wörld!", "日本語", "a\n\nb  c", "<|im_start|>x"):
        pieces, ids, _ = written(vocabulary, text)
        assert "".join(pieces) == text.replace("<|im_start|>", "")
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
        assert ids == vocabulary.encode([text])[0]


def test_half_a_character_at_the_end_is_left_out(vocabulary: Vocabulary) -> None:
    [ids] = vocabulary.encode(["ok 😀"])
    writer = Writer(vocabulary, ())
    deltas = [writer.feed(ids[:-1]), writer.finish()]
    assert "".join(delta.text for delta in deltas) == "ok "
    assert [id_ for delta in deltas for id_ in delta.token_ids] == vocabulary.encode(["ok "])[0]


def test_bytes_that_never_become_a_character_do_not_hold_the_text_up(vocabulary: Vocabulary) -> None:
    broken = vocabulary.encode(["😀"])[0][0]
    writer = Writer(vocabulary, ())
    assert [writer.feed([broken]).token_ids for _ in range(8)][-1] == (broken,) * 8


def test_the_beginning_of_a_stop_string_is_held_and_not_lost(vocabulary: Vocabulary) -> None:
    """Trap: when a stop token comes, both libraries forget what they held back: `hi the` became `hi `."""
    pieces, ids, stopped = written(vocabulary, "hi the", "there")
    assert ("".join(pieces), stopped) == ("hi the", False)
    assert "".join(pieces[:-1]) == "hi "
    assert ids == vocabulary.encode(["hi the"])[0]


def test_the_first_stop_string_ends_the_text_before_it(vocabulary: Vocabulary) -> None:
    pieces, ids, stopped = written(vocabulary, "1 2 3 4 5 6 7", "5 6", "4 5", "never")
    assert ("".join(pieces), stopped) == ("1 2 3 ", True)
    assert ids == vocabulary.encode(["1 2 3 "])[0]


def test_text_before_a_stop_string_in_the_middle_of_a_token_is_told(vocabulary: Vocabulary) -> None:
    word = "Hearth"
    pieces, ids, stopped = written(vocabulary, f"I am {word}", "arth")
    assert ("".join(pieces), stopped) == ("I am He", True)
    assert vocabulary.decode(ids) in "I am He"


def test_a_stop_string_across_many_tokens_and_a_false_alarm_before_it(vocabulary: Vocabulary) -> None:
    pieces, _, stopped = written(vocabulary, "ab aab abc tail", "aab abc")
    assert ("".join(pieces), stopped) == ("ab ", True)
    assert written(vocabulary, "aaaa", "aab")[0][-1] == "aa"


class Bytes:
    """A decoder whose tokens spell any bytes: some vocabularies have letters and half a character in one token."""

    def __init__(self, *tokens: bytes) -> None:
        self.tokens = tokens

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.tokens[id_] for id_ in ids).decode("utf-8", "replace")


def test_a_stop_string_in_a_token_that_ends_within_a_character_is_found() -> None:
    """Also where nothing comes any more that would make the character whole."""
    decoder = Bytes(b"so: ", b"END \xf0\x9f", b"\x98\x80")
    writer = Writer(decoder, ["END"])
    assert [writer.feed([id_]).text for id_ in (0, 1, 2)] == ["so: ", "", ""]
    assert writer.stopped
    writer = Writer(decoder, ["ND"])
    assert [writer.feed([id_]).text for id_ in (0, 1)] == ["so: ", ""]
    assert (writer.finish().text, writer.stopped) == ("E", True)
    writer = Writer(decoder, ["END!"])
    assert [writer.feed([id_]).text for id_ in (0, 1)] == ["so: ", ""]
    assert (writer.finish().text, writer.stopped) == ("END ", False)


def test_logprobs_come_with_their_tokens(vocabulary: Vocabulary) -> None:
    writer = Writer(vocabulary, ("there",))
    [ids] = vocabulary.encode(["hi the"])
    all_of_them = [(TokenLogprob(id_, "", -1.0, b""), ()) for id_ in ids]
    deltas = [writer.feed([id_], [one]) for id_, one in zip(ids, all_of_them, strict=True)]
    deltas.append(writer.finish())
    for delta in deltas:
        assert tuple(token.token_id for token, _ in delta.logprobs) == delta.token_ids
    assert [one for delta in deltas for one in delta.logprobs] == all_of_them


def asked(**constraint: Any) -> Generation:
    return Generation(prompt=(1,), max_tokens=1, **constraint)


def follow(matcher: Matcher, size: int, choose: int = 0) -> list[int]:
    """The first (or last) allowed token again and again, to the end."""
    ids: list[int] = []
    for _ in range(100):
        allowed = np.nonzero(matcher.allowed(size))[0]
        ids.append(int(allowed[choose]))
        matcher.accept(ids[-1])
        if ids[-1] == 1279:
            break
    return ids


def test_a_grammar_allows_what_the_schema_says_and_then_the_end(vocabulary: Vocabulary) -> None:
    matcher = Grammars(vocabulary).matcher(asked(json_schema={"const": "é😀"}))
    ids = follow(matcher, 1312)
    assert json.loads(vocabulary.decode(ids)) == "é😀"
    assert ids[-1] == 1279
    assert not matcher.failed


def test_a_grammar_keeps_a_regular_expression(vocabulary: Vocabulary) -> None:
    matcher = Grammars(vocabulary).matcher(asked(json_schema={"type": "string", "pattern": "^[ab]{3}$"}))
    text = json.loads(vocabulary.decode(follow(matcher, 1280, -1)))
    assert len(text) == 3
    assert set(text) <= {"a", "b"}


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"type": "string", "pattern": "("}, {"$ref": "#/nowhere"}])
def test_a_bad_schema_is_refused(vocabulary: Vocabulary, schema: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        Grammars(vocabulary).matcher(asked(json_schema=schema))


class Breaking:
    """A matcher of the grammar library that fails."""

    def unsafe_compute_mask_ptr(self, pointer: int, size: int) -> None:
        raise RuntimeError("no more memory")

    def is_error(self) -> bool:
        return False


def test_trap_a_grammar_that_fails_allows_the_end_alone_and_raises_nothing(vocabulary: Vocabulary) -> None:
    """In both libraries an exception of a filter would end everybody's answers."""
    matcher = Matcher(Breaking(), 1280, {1277, 1279})  # type: ignore[arg-type]
    assert np.nonzero(matcher.allowed(1280))[0].tolist() == [1277, 1279]
    assert matcher.failed == "no more memory"
    matcher = Grammars(vocabulary).matcher(asked(json_schema={"const": 1}))
    matcher.accept(5)
    assert matcher.failed
    assert np.nonzero(matcher.allowed(1280))[0].tolist() == [1279]
    matcher.accept(5)
