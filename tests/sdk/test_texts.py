"""Legacy completions, embeddings and the list of models on six generations of the SDK."""

from __future__ import annotations

import base64
import math
import struct

import pytest

from tests.sdk.conftest import Told
from tests.sdk.plan import CHAT


def test_models_are_listed(told: Told) -> None:
    models = told.answer("models")
    assert models["object"] == "list"
    assert {model["id"] for model in models["data"]} >= {CHAT, "gpt-3.5-turbo-0613", "gpt-3.5-turbo-0301", "whisper-1"}
    for model in models["data"]:
        assert model["object"] == "model"
        assert model["owned_by"]
        assert isinstance(model["created"], int)


@pytest.mark.parametrize("name, asked", [("model", CHAT), ("snapshot", "gpt-3.5-turbo-0613")])
def test_a_model_is_looked_up(told: Told, name: str, asked: str) -> None:
    model = told.answer(name)
    assert (model["id"], model["object"]) == (asked, "model")
    assert model in told.answer("models")["data"]


def test_a_text_goes_on(told: Told) -> None:
    completion = told.answer("text")
    assert completion["id"].startswith("cmpl-")
    assert completion["object"] == "text_completion"
    [choice] = completion["choices"]
    assert choice["text"]
    assert (choice["index"], choice["logprobs"]) == (0, None)
    assert choice["finish_reason"] in {"stop", "length"}
    assert completion["usage"]["completion_tokens"] <= 8


def test_a_text_is_streamed(told: Told) -> None:
    chunks = told.answer("text streamed")
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == told.answer("text")["choices"][0]["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == told.answer("text")["choices"][0]["finish_reason"]


def test_texts_are_echoed_and_the_best_of_them_given(told: Told) -> None:
    choices = told.answer("text echoed")["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert [choice["text"][:3] for choice in choices] == ["One", "One", "Two", "Two"]


def test_logprobs_of_a_text(told: Told) -> None:
    choice = told.answer("text logprobs")["choices"][0]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    lists = (found["tokens"], found["token_logprobs"], found["top_logprobs"], found["text_offset"])
    assert len({len(one) for one in lists}) == 1
    assert all(logprob <= 0 for logprob in found["token_logprobs"])


def test_a_text_is_embedded(told: Told) -> None:
    """Some generations ask for base64 of themselves, and unpack it."""
    found = told.answer("embedding")
    assert found["object"] == "list"
    [one] = found["data"]
    assert (one["object"], one["index"]) == ("embedding", 0)
    assert math.isclose(math.hypot(*one["embedding"]), 1, abs_tol=1e-3)
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0


def test_texts_are_embedded_in_order(told: Told) -> None:
    data = told.answer("embeddings")["data"]
    assert [one["index"] for one in data] == [0, 1]
    assert data[0]["embedding"] == pytest.approx(told.answer("embedding")["data"][0]["embedding"], abs=1e-5)
    assert data[0]["embedding"] != data[1]["embedding"]


def test_base64_holds_the_same_numbers(told: Told) -> None:
    packed = base64.b64decode(told.answer("embedding base64")["data"][0]["embedding"])
    numbers = struct.unpack(f"<{len(packed) // 4}f", packed)
    assert list(numbers) == pytest.approx(told.answer("embedding")["data"][0]["embedding"], abs=1e-5)
