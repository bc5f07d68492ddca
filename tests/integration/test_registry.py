"""The models by name: loaded once, on first use, and unloaded when others need the room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL, GpuConfig, ModelConfig, QueueConfig
from bot.engines import gguf
from bot.engines.registry import FOLDER, Loaded, Registry
from bot.errors import BadRequest, EngineError, EngineTimeout, ModelError
from bot.generation import ChatTemplate, Delta, Generation
from bot.testing import ScriptedEmbedding, ScriptedEngine
from tests.house import DEADLINE

DEMO_FOLDER = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"


class Loads:
    """A loader of scripted engines that keeps what it made, and can be held back."""

    def __init__(self) -> None:
        self.made: list[ScriptedEngine] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, alias: str, config: ModelConfig, data_dir: Path) -> ScriptedEngine:
        await self.go_on.wait()
        if config.path.stem == "broken":
            raise ModelError(f"{config.path}: is cut off")
        engine = ScriptedEngine(name=f"{alias}@0")
        if config.path.stem == "silent":
            engine.template = ChatTemplate(source="{{ raise_exception('never') }}")
        self.made.append(engine)
        return engine

    def names(self) -> list[str]:
        return [engine.name for engine in self.made]


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
async def registry(loads: Loads, tmp_path: Path) -> AsyncIterator[Registry]:
    models = {name: ModelConfig(path=Path(f"{name}.scripted"), slots=2) for name in ("one", "two", "three", "broken")}
    registry = Registry(models, QueueConfig(), tmp_path, loaded_models=2, loaders={".scripted": loads}, grace=0.0)
    yield registry
    await registry.aclose()


async def nothing_more_to_do() -> None:
    """So many turns of the event loop, and a load that nothing holds up has ended."""
    for _ in range(100):
        await asyncio.sleep(0)


async def held_back(loaded: Loaded) -> None:
    """Returns when the model gives out no slot although it has one."""
    async with asyncio.timeout(DEADLINE):
        while True:
            async with loaded.scheduler.ticket("ben") as ticket:
                if not ticket.has_slot:
                    return
            await asyncio.sleep(0.01)


async def test_a_model_is_loaded_on_first_use_and_once(registry: Registry, loads: Loads) -> None:
    assert loads.names() == []
    results = await asyncio.gather(*(registry.get("one") for _ in range(5)))
    assert len({id(loaded) for loaded in results}) == 1
    assert loads.names() == ["one@0"]
    assert await registry.get("one") is results[0]


async def test_who_gives_up_does_not_stop_the_load_for_others(registry: Registry, loads: Loads) -> None:
    loads.go_on.clear()
    impatient, patient = asyncio.create_task(registry.get("one")), asyncio.create_task(registry.get("one"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    loads.go_on.set()
    assert (await patient).engine.name == "one@0"
    assert loads.names() == ["one@0"]


async def test_an_unknown_name_is_answered_with_the_known_ones(registry: Registry) -> None:
    with pytest.raises(BadRequest) as refused:
        await registry.get("four")
    assert refused.value.words == "There is no model 'four'. There are: one, two, three, broken."
    assert refused.value.param == "model"


async def test_the_model_that_was_not_used_for_longest_makes_room(registry: Registry, loads: Loads) -> None:
    await registry.get("one")
    await registry.get("two")
    await registry.get("one")
    await registry.get("three")
    assert [engine.closed for engine in loads.made] == [False, True, False]
    assert [state.alias for state in registry.describe() if state.loaded] == ["one", "three"]
    await registry.get("two")
    assert loads.names() == ["one@0", "two@0", "three@0", "two@0"]


async def test_a_model_in_use_is_not_taken_away(registry: Registry, loads: Loads) -> None:
    one = await registry.get("one")
    await registry.get("two")
    request = Generation(prompt=(65,) * 10, max_tokens=50)
    async with one.scheduler.ticket("ann") as ticket:
        loading = asyncio.create_task(registry.get("three"))
        await nothing_more_to_do()
        text = "".join([event.text async for event in ticket.stream(request) if isinstance(event, Delta)])
        assert not loading.done()
    assert text == "You said: AAAAAAAAAA"
    assert (await loading).engine.name == "three@0"
    assert loads.made[0].closed


async def test_a_load_waits_until_the_others_have_finished_their_answers(registry: Registry, loads: Loads) -> None:
    one = await registry.get("one")
    async with one.scheduler.ticket("ann"):
        loading = asyncio.create_task(registry.get("two"))
        await held_back(one)
        await nothing_more_to_do()
        assert loads.names() == ["one@0"]
    await loading
    assert loads.names() == ["one@0", "two@0"]
    async with one.scheduler.ticket("ann") as ticket:
        assert ticket.has_slot


async def test_a_model_that_cannot_be_loaded_is_told_and_the_others_go_on(registry: Registry) -> None:
    for _ in range(2):
        with pytest.raises(ModelError, match=r"broken\.scripted: is cut off"):
            await registry.get("broken")
    assert (await registry.get("one")).engine.name == "one@0"
    assert [state.error for state in registry.describe() if state.error] == ["broken.scripted: is cut off"]


async def test_a_file_that_is_no_model_takes_no_other_models_place(tmp_path: Path, loads: Loads) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(EMBEDDED_CHAT_MODEL.read_bytes()[:1000])
    models = {"good": ModelConfig(path=Path("good.scripted")), "bad": ModelConfig(path=bad)}
    registry = Registry(models, QueueConfig(), tmp_path, loaded_models=1, loaders={".scripted": loads}, grace=0.0)
    good = await registry.get("good")
    with pytest.raises(ModelError, match=r"bad\.gguf: is cut off"):
        await registry.get("bad")
    assert await registry.get("good") is good
    assert [engine.closed for engine in loads.made] == [False]
    await registry.aclose()


async def test_a_model_whose_template_takes_no_question_is_told_and_closed(tmp_path: Path, loads: Loads) -> None:
    models = {"silent": ModelConfig(path=Path("silent.scripted"))}
    registry = Registry(models, QueueConfig(), tmp_path, loaders={".scripted": loads})
    for _ in range(2):
        with pytest.raises(ModelError, match="does not take a user's message"):
            await registry.get("silent")
    assert [engine.closed for engine in loads.made] == [True]
    assert [state.error for state in registry.describe()] == [
        "the model's chat template does not take a user's message"
    ]
    await registry.aclose()


async def test_two_names_of_the_same_model_are_loaded_once(tmp_path: Path, loads: Loads) -> None:
    """`default` is another name of the model that was chosen; run otherwise, it is a model of its own."""
    same, other = ModelConfig(path=Path("big.scripted")), ModelConfig(path=Path("big.scripted"), slots=1)
    registry = Registry(
        {"default": same, "big": same, "narrow": other}, QueueConfig(), tmp_path, loaders={".scripted": loads}
    )
    try:
        assert await registry.get("default") is await registry.get("big")
        assert loads.names() == ["big@0"]
        assert [state.loaded for state in registry.describe()] == [True, True, False]
        assert await registry.get("narrow") is not await registry.get("big")
    finally:
        await registry.aclose()


async def test_after_the_end_there_are_no_models(registry: Registry, loads: Loads) -> None:
    one = await registry.get("one")
    async with one.scheduler.ticket("ann"), one.scheduler.ticket("cat"), one.scheduler.ticket("ben") as waits:
        await registry.aclose()
        with pytest.raises(EngineError):
            await anext(waits.stream(Generation(prompt=(65,), max_tokens=1)))
    assert loads.made[0].closed
    with pytest.raises(EngineError):
        await registry.get("one")


async def test_the_demo_model_and_a_missing_one_side_by_side(tmp_path: Path) -> None:
    models = {
        "demo": ModelConfig(path=EMBEDDED_CHAT_MODEL, threads=1, slots=2),
        "missing": ModelConfig(path=tmp_path / "missing.gguf"),
    }
    registry = Registry(models, QueueConfig(), tmp_path)
    assert registry.names() == ["demo", "missing"]
    with pytest.raises(ModelError, match=r"missing\.gguf: cannot be read \(No such file or directory\)"):
        await registry.get("missing")
    loaded = await registry.get("demo")
    assert loaded.scheduler.slots == 2
    assert loaded.engine.name.startswith("demo@")
    assert len(loaded.engine.name) == len("demo@") + 12
    await registry.aclose()


async def test_of_folders_one_is_loaded_at_a_time(tmp_path: Path, loads: Loads) -> None:
    """They share a GPU, and each takes what it finds of its memory; a file's model stays where it is."""
    models = {"file": ModelConfig(path=Path("file.scripted"))}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        models[name] = ModelConfig(path=tmp_path / name)
    loaders = {".scripted": loads, FOLDER: loads}
    registry = Registry(models, QueueConfig(), tmp_path, loaded_models=3, loaders=loaders, grace=0.0)
    for name in ("one", "file", "two"):
        await registry.get(name)
    assert [state.alias for state in registry.describe() if state.loaded] == ["file", "two"]
    assert [engine.closed for engine in loads.made] == [True, False, False]
    await registry.get("one")
    assert [state.alias for state in registry.describe() if state.loaded] == ["file", "one"]
    await registry.aclose()


class OneAtATime(ScriptedEngine):
    """An engine that has fewer slots than it was asked for, as exllamav2 without flash-attn."""

    slots = 1


async def test_an_engine_that_answers_one_at_a_time_gets_one_slot(tmp_path: Path) -> None:
    async def load(alias: str, config: ModelConfig, data_dir: Path) -> ScriptedEngine:
        return OneAtATime(name=f"{alias}@0")

    models = {"one": ModelConfig(path=Path("one.scripted"), slots=8)}
    registry = Registry(models, QueueConfig(), tmp_path, loaders={".scripted": load})
    assert (await registry.get("one")).scheduler.slots == 1
    await registry.aclose()


@pytest.mark.parametrize("named", [False, True])
async def test_where_there_is_no_gpu_one_line_says_so_and_a_file_answers_on_the_cpu(
    tmp_path: Path, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = GpuConfig(fallback=EMBEDDED_CHAT_MODEL) if named else GpuConfig()
    models = {"big": ModelConfig(path=DEMO_FOLDER, slots=2, context_length=2048, threads=1, gpu=gpu)}
    registry = Registry(models, QueueConfig(), tmp_path)
    loaded = await registry.get("big")
    digest = (await asyncio.to_thread(gguf.read, EMBEDDED_CHAT_MODEL)).digest
    assert loaded.engine.name == f"big@{digest[:12]}"
    lines = [line for line in capsys.readouterr().out.splitlines() if "no GPU for this model" in line]
    assert len(lines) == 1
    assert "hearth-demo-chat.gguf" in lines[0]
    await registry.aclose()


async def test_a_bad_folder_is_found_before_another_model_makes_room_for_it(tmp_path: Path, loads: Loads) -> None:
    (tmp_path / "bad").mkdir()
    models = {"good": ModelConfig(path=Path("good.scripted")), "bad": ModelConfig(path=tmp_path / "bad")}
    registry = Registry(models, QueueConfig(), tmp_path, loaded_models=1, loaders={".scripted": loads}, grace=0.0)
    await registry.get("good")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        await registry.get("bad")
    assert [engine.closed for engine in loads.made] == [False]
    await registry.aclose()


class Embedders:
    """A loader of scripted engines for embeddings that keeps what it made."""

    def __init__(self) -> None:
        self.made: list[ScriptedEmbedding] = []

    async def __call__(self, alias: str, config: ModelConfig, data_dir: Path) -> ScriptedEmbedding:
        if config.path.stem == "hostile":
            raise ModelError(f"{config.path}: makes no embeddings")
        self.made.append(ScriptedEmbedding(name=f"{alias}@0"))
        return self.made[-1]


@pytest.fixture
async def mixed(loads: Loads, tmp_path: Path) -> AsyncIterator[tuple[Registry, Embedders]]:
    """Models that chat beside models for embeddings, of each at most one in memory."""
    embedders = Embedders()
    chat = {name: ModelConfig(path=Path(f"{name}.scripted")) for name in ("one", "two")}
    file = ModelConfig(path=EMBEDDED_CHAT_MODEL, kind="embedding", slots=2)
    embedding = {name: file.model_copy(update={"slots": slots}) for name, slots in (("places", 2), ("others", 3))}
    registry = Registry(
        chat,
        QueueConfig(),
        tmp_path,
        embedding={**embedding, "gone": ModelConfig(path=tmp_path / "gone.gguf", kind="embedding")},
        loaded_models=1,
        loaders={".scripted": loads},
        embedding_loader=embedders,
        grace=0.0,
    )
    yield registry, embedders
    await registry.aclose()


class TestEmbedding:
    async def test_each_is_refused_in_the_others_place(self, mixed: tuple[Registry, Embedders]) -> None:
        registry, embedders = mixed
        with pytest.raises(BadRequest) as refused:
            await registry.get("places")
        assert refused.value.words == "The model 'places' makes embeddings; it cannot chat or write."
        with pytest.raises(BadRequest) as refused:
            await registry.get_embedding("one")
        assert refused.value.words == "The model 'one' chats; it makes no embeddings."
        with pytest.raises(BadRequest) as refused:
            await registry.get_embedding("huge")
        assert refused.value.words == "There is no model 'huge'. There are: places, others, gone."
        assert refused.value.param == "model"
        assert embedders.made == []

    async def test_no_face_is_told_of_them(self, mixed: tuple[Registry, Embedders]) -> None:
        registry, _ = mixed
        await registry.get_embedding("places")
        assert registry.names() == [state.alias for state in registry.describe()] == ["one", "two"]
        states = registry.describe_embedding()
        assert [(state.alias, state.loaded, state.name) for state in states] == [
            ("places", True, "places@0"),
            ("others", False, ""),
            ("gone", False, ""),
        ]

    async def test_it_is_loaded_once_and_its_texts_are_placed(self, mixed: tuple[Registry, Embedders]) -> None:
        registry, embedders = mixed
        loaded, same = await asyncio.gather(registry.get_embedding("places"), registry.get_embedding("places"))
        assert loaded is same
        ids = await loaded.texts.inputs(["ab", "ba", "cc"])
        async with loaded.scheduler.ticket("key/1") as ticket:
            one, same_letters, other = await ticket.run(lambda: loaded.engine.embed(ids))
        assert one == same_letters != other
        assert [len(embedders.made), loaded.scheduler.running] == [1, 0]

    async def test_they_make_room_for_each_other_and_not_for_those_that_chat(
        self, mixed: tuple[Registry, Embedders], loads: Loads
    ) -> None:
        registry, embedders = mixed
        await registry.get("one")
        await registry.get_embedding("places")
        await registry.get_embedding("others")
        assert [engine.closed for engine in embedders.made] == [True, False]
        assert [engine.closed for engine in loads.made] == [False]
        await registry.get("two")
        assert [engine.closed for engine in embedders.made] == [True, False]
        assert [engine.closed for engine in loads.made] == [True, False]

    async def test_one_that_cannot_be_loaded_takes_no_place(self, mixed: tuple[Registry, Embedders]) -> None:
        registry, embedders = mixed
        await registry.get_embedding("places")
        with pytest.raises(ModelError, match=r"gone\.gguf: cannot be read"):
            await registry.get_embedding("gone")
        assert [engine.closed for engine in embedders.made] == [False]
        assert registry.describe_embedding()[2].error.endswith("cannot be read (No such file or directory)")

    async def test_a_call_waits_for_its_slot_and_ends_with_its_ticket(self, mixed: tuple[Registry, Embedders]) -> None:
        registry, embedders = mixed
        loaded = await registry.get_embedding("places")
        [engine] = embedders.made
        engine.resume = asyncio.Event()
        ids = await loaded.texts.inputs(["a", "b"])

        async def embed(user: str) -> int:
            async with loaded.scheduler.ticket(user) as ticket:
                return len(await ticket.run(lambda: loaded.engine.embed(ids)))

        tasks = [asyncio.create_task(embed(f"key/{n}")) for n in range(3)]
        await nothing_more_to_do()
        assert (engine.active, loaded.scheduler.running, loaded.scheduler.waiting) == (2, 2, 1)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        await nothing_more_to_do()
        assert (engine.active, loaded.scheduler.running, loaded.scheduler.waiting) == (2, 2, 0)
        engine.resume.set()
        assert [await task for task in tasks[1:]] == [2, 2]

    async def test_what_takes_too_long_is_told(self, loads: Loads, tmp_path: Path) -> None:
        embedders, queue = Embedders(), QueueConfig(total_timeout=0.05)
        embedding = {"places": ModelConfig(path=EMBEDDED_CHAT_MODEL, kind="embedding")}
        registry = Registry({}, queue, tmp_path, embedding=embedding, embedding_loader=embedders)
        loaded = await registry.get_embedding("places")
        embedders.made[0].resume = asyncio.Event()
        ids = await loaded.texts.inputs(["a"])
        with pytest.raises(EngineTimeout):
            async with loaded.scheduler.ticket("key/1") as ticket:
                await ticket.run(lambda: loaded.engine.embed(ids))
        assert embedders.made[0].active == loaded.scheduler.running == 0
        await registry.aclose()
