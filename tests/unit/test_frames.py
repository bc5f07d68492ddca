"""The server's frames: no id is lost, no character is cut, and a failure is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bot.engines.frames import Frames, Shown, parse, spell
from bot.errors import BadRequest, EngineError, TooLong
from bot.generation import Delta, Finish, Prefill, TokenLogprob, Usage

GRIN = "😀".encode()


class Vocabulary:
    """Ids below 256 are bytes; 256 is the grin's first three bytes; 300 ends a turn; 301 is a control token."""

    end_ids = frozenset({300})
    special_ids: Mapping[str, int] = {"<end>": 300, "<call>": 301}

    @property
    def index(self) -> Mapping[bytes, int]:
        return {**{bytes([i]): i for i in range(256)}, GRIN[:3]: 256}

    def token_bytes(self, index: int) -> bytes:
        return {256: GRIN[:3]}.get(index, b"") if index >= 256 else bytes([index])

    def named_bytes(self, index: int) -> bytes:
        return {300: b"<end>", 301: b"<call>"}.get(index) or self.token_bytes(index)


def token(text: str, ids: list[int], predicted: int) -> dict[str, Any]:
    return {"content": text, "tokens": ids, "stop": False, "tokens_predicted": predicted, "tokens_evaluated": 3}


def end(kind: str, predicted: int) -> dict[str, Any]:
    timings = {"cache_n": 2, "prompt_ms": 500.0, "predicted_ms": 2000.0}
    return {
        "stop": True,
        "stop_type": kind,
        "content": "",
        "tokens": [],
        "timings": timings,
        "tokens_predicted": predicted,
        "tokens_evaluated": 3,
    }


def read(*frames: dict[str, Any], shows: frozenset[str] = frozenset()) -> list[Prefill | Delta | Finish]:
    state = Frames(Shown(Vocabulary(), shows), alternatives=None)
    return [event for frame in frames for event in state.read(frame)]


class TestFrames:
    def test_the_zero_that_comes_with_progress_is_no_token(self) -> None:
        progress = {**token("", [0], 0), "prompt_progress": {"total": 9, "cache": 4, "processed": 6, "time_ms": 1}}
        assert read(progress) == [Prefill(processed=6, total=9, cached=4)]

    def test_ids_that_never_arrived_are_spelled_from_the_text(self) -> None:
        events = read(token("a", [97], 1), token("😀", [GRIN[3]], 5))
        assert events[1] == Delta("😀", (GRIN[0], GRIN[1], GRIN[2], GRIN[3]))
        assert read(token("😀", [GRIN[3]], 2)) == [Delta("😀", (256, GRIN[3]))]

    def test_ids_wait_for_their_text(self) -> None:
        events = read(token("", [98], 1), token("", [98], 2), token("bbc", [99], 3))
        assert events == [Delta(""), Delta(""), Delta("bbc", (98, 98, 99))]

    def test_the_end_of_the_turn_is_no_part_of_the_answer(self) -> None:
        events = read(token("a", [97], 1), token("", [98], 2), token("b", [300], 3), end("eos", 3))
        usage = Usage(prompt_tokens=3, cached_tokens=2, completion_tokens=3)
        finish = Finish(reason="stop", usage=usage, prefill_seconds=0.5, decode_seconds=2.0)
        assert events == [Delta("a", (97,)), Delta(""), Delta("b", (98,)), finish]

    def test_text_held_for_a_stop_string_comes_when_the_tokens_run_out(self) -> None:
        events = read(token("a", [97], 1), token("", [98], 2), end("limit", 2))
        assert events[2] == Delta("b", (98,))
        assert isinstance(events[3], Finish)
        assert events[3].reason == "length"

    def test_a_character_cut_by_the_limit_leaves_neither_text_nor_ids(self) -> None:
        events = read(token("a", [97], 1), end("limit", 3))
        assert events[0] == Delta("a", (97,))
        assert isinstance(events[1], Finish)

    def test_a_found_stop_string_is_no_part_of_the_answer(self) -> None:
        events = read(token("a", [97], 1), token("", [98], 2), end("word", 2))
        assert events[:2] == [Delta("a", (97,)), Delta("")]
        assert isinstance(events[2], Finish)
        assert events[2].reason == "stop"

    def test_control_tokens_without_text_come_with_what_follows_or_at_the_end(self) -> None:
        events = read(token("a", [97], 1), token("", [301], 2), token("b", [98], 3), token("", [301], 4))
        assert events == [Delta("a", (97,)), Delta(""), Delta("b", (301, 98)), Delta("")]
        assert read(token("", [301], 1), token("", [300], 2), end("eos", 2))[2] == Delta("", (301,))
        assert read(token("", [301], 1), end("limit", 1))[1] == Delta("", (301,))

    def test_half_a_character_and_a_control_token_at_the_end_are_not_told(self) -> None:
        events = read(token("a", [97], 1), token("", [301], 3), token("", [300], 4), end("eos", 4))
        assert [event for event in events if isinstance(event, Delta) and event.token_ids] == [Delta("a", (97,))]

    def test_control_tokens_that_are_shown_stand_in_the_text(self) -> None:
        shows = frozenset({"<call>", "<end>", "<other>"})
        assert Shown(Vocabulary(), shows).names == {"<call>"}
        events = read(token("", [301], 1), token("<call>😀", [GRIN[3]], 3), shows=shows)
        assert events == [Delta(""), Delta("<call>😀", (301, 256, GRIN[3]))]
        assert read(token("", [301], 1), end("limit", 1), shows=shows)[1] == Delta("<call>", (301,))

    def test_a_token_whose_frame_never_arrived_has_no_log_probability(self) -> None:
        known = [{"id": GRIN[3], "logprob": -0.5, "top_logprobs": [{"id": 97, "logprob": -1.0}]}]
        frame = {**token("a😀", [GRIN[3]], 3), "completion_probabilities": known}
        [delta] = list(Frames(Shown(Vocabulary(), ()), alternatives=1).read(frame))
        assert isinstance(delta, Delta)
        assert delta.token_ids == (97, 256, GRIN[3])
        assert [(one.raw, one.text, one.logprob) for one, _ in delta.logprobs] == [
            (b"a", "a", None),
            (GRIN[:3], "\ufffd", None),
            (GRIN[3:], "\ufffd", -0.5),
        ]
        assert [others for _, others in delta.logprobs] == [(), (), (TokenLogprob(97, "a", -1.0, b"a"),)]

    def test_the_end_of_the_turn_takes_its_log_probability_along(self) -> None:
        def told(id_: int) -> list[dict[str, Any]]:
            return [{"id": id_, "logprob": -0.5}]

        state = Frames(Shown(Vocabulary(), ()), alternatives=0)
        [held] = state.read({**token("", [97], 1), "completion_probabilities": told(97)})
        [last] = state.read({**token("a", [300], 2), "completion_probabilities": told(300)})
        assert (held, last) == (Delta(""), Delta("a", (97,), ((TokenLogprob(97, "a", -0.5, b"a"), ()),)))

    def test_bytes_that_are_no_character_are_spelled_as_they_are_shown(self) -> None:
        assert spell("\N{REPLACEMENT CHARACTER}".encode(), [None, 200], Vocabulary()) == (0xEF, 0xBF, 0xBD)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class TestParse:
    async def test_frames_may_be_cut_anywhere(self) -> None:
        whole = b': ping\n\ndata: {"a": 1}\n\ndata: {"b": "\xc3\xa9"}\n\ndata: [DONE]\n\n'
        for at in range(len(whole)):
            frames = [frame async for frame in parse(chunks(whole[:at], whole[at:]))]
            assert frames == [{"a": 1}, {"b": "é"}]

    @pytest.mark.parametrize(
        ("event", "error"),
        [
            (b'error: {"code": 500, "message": "decode failed"}\n\n', EngineError),
            (b'data: {"error": {"code": 500, "message": "decode failed"}}\n\n', EngineError),
            (b'data: {"error": {"code": 400, "message": "no"}}\n\n', BadRequest),
            (b'data: {"error": {"code": 400, "type": "exceed_context_size_error", "message": "no"}}\n\n', TooLong),
            (b'data: {"error": "strange"}\n\n', EngineError),
        ],
    )
    async def test_a_reported_failure_is_raised(self, event: bytes, error: type[Exception]) -> None:
        with pytest.raises(error):
            _ = [frame async for frame in parse(chunks(event))]
