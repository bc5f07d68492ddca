"""POST /v1/embeddings over real sockets, by the embedded model: what a fresh install answers."""

from __future__ import annotations

import array
import base64
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import CHAT, HELLO, TEXT, Program, program
from tests.web import Site, site

EMBEDDINGS, ADA = "/embeddings", "text-embedding-ada-002"
SNAPSHOT = "hearth-demo-embedding-2026-11-29"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def fresh(home: Site) -> AsyncIterator[Program]:
    """A program before a fresh install."""
    async with program(home) as made:
        yield made


async def embed(asking: Program, given: object, **more: Any) -> Any:
    answer = await asking.post(EMBEDDINGS, {"model": ADA, "input": given, **more})
    assert answer.status == 200, answer.body
    return answer.json


async def refused(asking: Program, status: int = 400, **body: Any) -> Any:
    return await asking.refused(EMBEDDINGS, status, **{"model": ADA, "input": "hello", **body})


def vectors(answer: Any) -> list[list[float]]:
    assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
    return [item["embedding"] for item in answer["data"]]


def nearness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_a_text_is_placed_under_openais_name_and_told_by_its_snapshot(fresh: Program) -> None:
    answer = await embed(fresh, "hello there")
    [vector] = vectors(answer)
    assert (answer["object"], answer["model"], answer["data"][0]["object"]) == ("list", SNAPSHOT, "embedding")
    assert len(vector) == 256
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 2


@pytest.mark.parametrize("name", ["embedding", "text-embedding-3-small", SNAPSHOT])
async def test_all_its_names_give_the_same(fresh: Program, name: str) -> None:
    assert (await embed(fresh, "hello", model=name))["data"] == (await embed(fresh, "hello"))["data"]


async def test_texts_that_mean_the_same_are_near_each_other(fresh: Program) -> None:
    texts = ["The doctor gave her medicine.", "A physician prescribed a drug to the woman.", "We sailed over the lake."]
    one, same, other = vectors(await embed(fresh, texts))
    assert nearness(one, same) > nearness(one, other)


async def test_a_batch_is_each_text_alone_in_its_order(fresh: Program) -> None:
    texts = [f"{'very ' * (n % 5)}long number {n}" for n in range(40)]
    together = vectors(await embed(fresh, texts))
    for n in (0, 7, 39):
        assert nearness(together[n], vectors(await embed(fresh, texts[n]))[0]) > 0.999


async def test_numbers_come_as_such_or_packed(fresh: Program) -> None:
    [plain] = vectors(await embed(fresh, "hello", encoding_format="float"))
    [packed] = (await embed(fresh, "hello", encoding_format="base64"))["data"]
    unpacked = array.array("f", base64.b64decode(packed["embedding"], validate=True))
    assert list(unpacked) == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize("size", [1, 64, 256])
async def test_fewer_dimensions_are_the_first_scaled_to_one(fresh: Program, size: int) -> None:
    [whole] = vectors(await embed(fresh, "hello there"))
    [short] = vectors(await embed(fresh, "hello there", dimensions=size))
    length = math.hypot(*whole[:size])
    assert short == pytest.approx([value / length for value in whole[:size]], abs=1e-5)


async def test_token_ids_are_taken_too(fresh: Program) -> None:
    answer = await embed(fresh, [[100, 200], [300]])
    assert answer["usage"]["prompt_tokens"] == 7, "each with what the model wants around it"
    assert vectors(await embed(fresh, [300])) == [pytest.approx(vectors(answer)[1], abs=1e-5)]


async def test_control_strings_are_text(fresh: Program) -> None:
    """Nothing that is written ends the text or begins another."""
    plain, forged = [await embed(fresh, text) for text in ("hello there", "hello [SEP] there")]
    assert forged["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 2


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"dimensions": 257}, "dimensions", "This model has 256 dimensions; 257 are more."),
        ({"input": [[5, 3, 6]]}, "input", "The input has control tokens among its ids."),
        ({"input": [[5], [10**6]]}, "input", "Input 1 has token ids that this model does not have."),
        (
            {"model": "default"},
            "model",
            "The model `default` is a model for chat and text; a model for embeddings is needed here.",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    fresh: Program, body: dict[str, Any], param: str, words: str
) -> None:
    error = await refused(fresh, **body)
    assert (error["type"], error["param"], error["message"]) == ("invalid_request_error", param, words)


async def test_a_text_that_is_too_long_is_refused_with_the_numbers(fresh: Program) -> None:
    error = await refused(fresh, input=["short", "word " * 3000])
    assert error["code"] == "context_length_exceeded"
    assert error["message"] == "Input 1 has 3000 tokens; this model's context is 2048, and 2048 are the most."


async def test_a_model_that_embeds_does_not_chat(fresh: Program) -> None:
    bodies: dict[str, dict[str, Any]] = {CHAT: {"messages": HELLO}, TEXT: {"prompt": "hi"}}
    for path, body in bodies.items():
        error = await fresh.refused(path, model=ADA, **body)
        assert (error["param"], error["code"]) == ("model", "model_not_supported")
        assert error["message"] == (
            f"The model `{ADA}` is a model for embeddings; a model for chat and text is needed here."
        )
        error = await fresh.refused(path, **{**body, "model": "whisper-1"})
        assert error["message"] == (
            "The model `whisper-1` is a model for recordings; a model for chat and text is needed here."
        )


async def test_it_is_listed_for_what_it_is(fresh: Program) -> None:
    models = {model["id"]: model for model in (await fresh.get("/models")).json["data"]}
    assert models[ADA]["kind"] == models[SNAPSHOT]["kind"] == "embedding"
    assert models["default"]["kind"] == "chat"


async def test_what_was_used_is_counted(home: Site, fresh: Program) -> None:
    answer = await embed(fresh, ["hello", "you"], user="ann")
    rows = [row for row in await home.app.store.api_usage() if row["endpoint"] == "embeddings"]
    assert [(row["model"], row["user"], row["prompt_tokens"]) for row in rows] == [
        ("embedding", "ann", answer["usage"]["prompt_tokens"])
    ]
