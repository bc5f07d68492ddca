"""The servers that `api` measures, each a process of its own: `python -m benchmarks.api_servers KIND SETTINGS`.

hearth: the whole of it, as `hearth run` composes it. llama.cpp: its own server, by xllamacpp, run with the very
parameters that Hearth runs it with. llama-cpp-python: that package's server, where `make rival` has installed it. engine:
no server, but the scripted engine driven bare; it prints the CPU that this took.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
import psutil
from pydantic import TypeAdapter

from benchmarks.report import quietly
from bot import loop
from bot.app import running
from bot.config import Config, ModelConfig
from bot.engines import gguf, llama_server
from bot.engines.llamacpp import BATCH, context_for
from bot.generation import Delta, Generation, Sampling
from bot.ports import ChatEngine
from bot.recent import LastErrors
from bot.testing import ScriptedEngine

Kind = Literal["hearth", "llama.cpp", "llama-cpp-python", "engine"]

RIVAL = Path(__file__).parent.parent / ".venv" / "rival" / "bin" / "python"
"""Has llama-cpp-python in it, after `make rival`."""
CONTEXT = 1024
"""Tokens of each slot."""
ANSWER = "Once there was a small house by the sea. " * 13
"""The scripted engine's, a character a token; as many are written as are asked for. It looks at all of it each time."""
PROMPT = "x" * 100
"""Of the engine that is driven bare, a token each: about as many as the questions have through the API."""
DEADLINE, POLL = 120.0, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a server is told."""

    port: int = 0
    slots: int
    path: str = ""
    """The model's; empty: the scripted engine."""
    threads: int | None = None
    """None: one for each core."""
    data_dir: str = ""
    chat_tokens: int = 4
    """What Hearth writes to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """What the bare engine is asked: so many answers of so many tokens, `streams` at once."""

    streams: int
    answers: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers."""

    port: int
    process: psutil.Process
    console: Path
    """Hearth's socket for people; the others have none."""

    def cpu(self) -> float:
        """Seconds of all its threads so far, the kernel's work for it included. To a hundredth."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def serving(kind: Kind, settings: Settings) -> AsyncIterator[Server]:
    """A server for as long as the block. It has its models loaded when the block begins."""
    told = TypeAdapter(Settings).dump_json(settings).decode()
    command = [str(RIVAL), *_rival(settings)] if kind == "llama-cpp-python" else _command(kind, told)
    with _process(command) as process:
        server = Server(settings.port, psutil.Process(process.pid), Config(data_dir=Path(settings.data_dir)).socket)
        await _until_it_answers(server)
        yield server


def bare_cpu(driven: Driven) -> float:
    """Seconds of CPU per token of the scripted engine, driven bare in a process of its own."""
    told = TypeAdapter(Driven).dump_json(driven).decode()
    done = subprocess.run(_command("engine", told), env=_environ(), stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def _command(kind: Kind, told: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.api_servers", kind, told]


def _environ() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
    return own | {
        "OMP_WAIT_POLICY": "PASSIVE"
    }  # every rival's too: threads that spin would be measured, and nothing else


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=_environ(), stdout=subprocess.DEVNULL, stderr=_errors(command)) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _errors(command: list[str]) -> int | None:
    """llama-cpp-python's server logs every request."""
    return subprocess.DEVNULL if command[0] == str(RIVAL) else None


async def _until_it_answers(server: Server) -> None:
    end = time.perf_counter() + DEADLINE
    alive = {"Connection": "keep-alive"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=alive) as http:
        while time.perf_counter() < end:
            assert server.process.is_running(), "the server ended at once"
            assert server.process.status() != psutil.STATUS_ZOMBIE, "the server ended at once"
            try:
                async with http.get("/v1/models") as response:
                    if response.ok:
                        return
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(POLL)
    raise AssertionError(f"no answer within {DEADLINE:.0f} s")


def config_of(settings: Settings) -> Config:
    """Hearth's: as by default, but for the model."""
    model = {"path": settings.path or "scripted.fake", "slots": settings.slots, "context_length": CONTEXT}
    return Config.model_validate(
        {
            "data_dir": settings.data_dir,
            "web": {"port": settings.port},
            "chat": {"max_tokens": settings.chat_tokens},
            "permissions": {"messages_per_minute": 10**6},
            "models": {"default": model | {"threads": settings.threads}},
        }
    )


def scripted() -> ScriptedEngine:
    """Reads a prompt in one step and keeps one sequence: what more would cost is the script's, not Hearth's."""
    return ScriptedEngine(lambda _: ANSWER, context_length=len(ANSWER) + CONTEXT, batch=CONTEXT, slots=1)


async def hearth(settings: Settings) -> None:
    """Until SIGTERM."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return scripted()

    loaders = None if settings.path else {".fake": load}
    async with running(config_of(settings), loaders=loaders, errors=LastErrors()):
        loop.settle()
        await end.wait()


def llama_cpp(settings: Settings) -> None:
    """llama.cpp's own server, on a port instead of a socket, without a key. Until SIGTERM."""
    xllamacpp = llama_server.library()
    config = ModelConfig(
        path=Path(settings.path), context_length=CONTEXT, slots=settings.slots, threads=settings.threads
    )
    way = llama_server.Way(context_length=context_for(gguf.read(config.path), config), batch=BATCH)
    params = llama_server.parameters(xllamacpp, config, way, Path("unused"), "")
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], settings.port, []
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    server = xllamacpp.Server(params)
    end.wait()
    del server


def _rival(settings: Settings) -> list[str]:
    """llama-cpp-python's server: one answer at a time, to which the others wait."""
    given: dict[str, Any] = {"model": settings.path, "host": "127.0.0.1", "port": settings.port, "n_ctx": CONTEXT}
    if settings.threads is not None:
        given |= {"n_threads": settings.threads, "n_threads_batch": settings.threads}
    given |= {"interrupt_requests": False, "verbose": False}
    return ["-m", "llama_cpp.server", *(str(part) for name, value in given.items() for part in (f"--{name}", value))]


async def drive(driven: Driven) -> float:
    """Seconds of CPU per token."""
    engine, left = scripted(), iter(range(driven.answers))
    prompt = tuple((await engine.encode([PROMPT]))[0])
    request = Generation(prompt=prompt, max_tokens=driven.tokens, sampling=Sampling(temperature=0.7))

    async def stream() -> int:
        return sum([isinstance(event, Delta) for _ in left async for event in engine.stream(request)])

    began = time.process_time()
    counts = await asyncio.gather(*(stream() for _ in range(driven.streams)))
    seconds = time.process_time() - began
    assert sum(counts) == driven.answers * driven.tokens, counts
    return seconds / sum(counts)


def main(kind: str, told: str) -> None:
    """Be one of them."""
    quietly()
    if kind == "engine":
        print(loop.serve(drive(TypeAdapter(Driven).validate_json(told))))
    elif kind == "hearth":
        loop.serve(hearth(TypeAdapter(Settings).validate_json(told)))
    else:
        llama_cpp(TypeAdapter(Settings).validate_json(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
