"""The models by name: loaded once, on first use, and unloaded when others need the room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL, GpuConfig, ModelConfig, QueueConfig
from bot.engines import gguf
from bot.engines.registry import FOLDER, Loaded, Registry
from bot.errors import BadRequest, EngineError, ModelError
from bot.generation import ChatTemplate, Delta, Generation
from bot.testing import ScriptedEngine
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
