"""llama.cpp's server inside this process, by xllamacpp, and the connection to it: what every model of it has in common.

Everything goes through the server's native HTTP routes on a unix socket of our own: token ids in. Its Python calls
need a thread for each request and leave out the ids; over the socket the event loop does the waiting, closing the
connection cancels, and a process that exits in the middle of a request has no thread of ours inside the library.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bot import aside
from bot.config import ModelConfig, socket_path
from bot.engines.frames import failure
from bot.engines.plain import surroundings
from bot.errors import EngineBroken, EngineError, ModelError
from bot.gguf_format import Pooling

FAILURES = (aiohttp.ClientError, OSError, ValueError, RuntimeError)
"""What a lost connection can look like; aiohttp's closed sessions are RuntimeErrors."""
START_SECONDS = 60.0
"""For the first answer, on however busy a machine."""
START_POLL = 0.2
LOG_SECONDS, LOG_POLL = 2.0, 0.02
"""For the reason of a failed load: the library's log is written by a thread of its own."""
CAUSE = "error loading model: "
CLOSE_SECONDS, CLOSE_POLL = 10.0, 0.02
"""For cancelled streams to end: a step or two each."""
HTTP_RESERVE = 8
"""Server threads beyond one per slot: for tokenizing, and for closed streams that are noticed at their next token."""
JSON = {"Content-Type": "application/json"}
TOKENIZING = 2
"""Connections that stay open for tokenizing, each of which keeps a server thread; a new one for each call was measured
to take half as long again."""
KEPT_SECONDS = 3.0
"""How long they stay: the library itself would close them after 5 seconds."""
TOKEN = 8
"""Characters of a token's id in JSON, or thereabouts."""
LIBRARY = "a small Debian or Ubuntu lacks a library of its: apt-get install libgomp1"
SEPARATOR = -1
"""An id that no vocabulary has: the tokenizer passes numbers through, so one call can carry many texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a model is run, beside what is configured."""

    context_length: int
    """Tokens of each slot, or of the longest input."""
    batch: int
    """Tokens per step of reading."""
    pooling: Pooling | None = None
    """The model writes nothing, but places texts in a space, each by its tokens' places together."""
    shared: int | None = None
    """So many tokens of context are there for all slots together, and none has a share of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Tokens read, found in the cache and written since the load, and the streams that run now."""

    prefilled: int
    cached: int
    generated: int
    running: int


@dataclass
class Listener:
    """The library's server and the unix socket that it answers on to those who have the key."""

    server: Any
    socket: Path
    key: str

    def wait_until_it_answers(self, seconds: float = START_SECONDS) -> None:
        """Ask what both its threads must work for, the listener and the engine's loop. Raises OSError in the end.

        The library forgets a stop that comes before those have begun, and its destructor then waits for ever.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                return self._ask(seconds)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(START_POLL)

    def _ask(self, seconds: float) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(seconds)
            client.connect(str(self.socket))
            client.sendall(f"GET /metrics HTTP/1.0\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode())
            client.recv(1)

    def counters(self) -> Counters:
        """What the server has computed; blocks until its current step is done."""
        lines = (line.split() for line in self.server.handle_metrics().splitlines() if line.startswith("llamacpp:"))
        values = {line[0].removeprefix("llamacpp:"): int(float(line[1])) for line in lines}
        return Counters(
            prefilled=values["prompt_tokens_total"],
            cached=values["prompt_tokens_cached_total"],
            generated=values["tokens_predicted_total"],
            running=values["requests_processing"],
        )

    def close(self) -> None:
        """Stop and free everything; blocks until the library's threads have ended."""
        self.server = None  # its destructor joins them
        self.socket.unlink(missing_ok=True)


class Connection:
    """A server that listens, with the connections to it. Every method may be called many times at once."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name = name
        self._listener: Listener | None = listener
        path = str(listener.socket)
        self._work = _session(listener, aiohttp.UnixConnector(path, limit=0, force_close=True))
        self._texts = _session(listener, aiohttp.UnixConnector(path, limit=TOKENIZING, keepalive_timeout=KEPT_SECONDS))

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids in one call; control strings are parsed, no bos is added."""
        if not texts:
            return []
        size = sum(map(len, texts)) + aside.EACH * len(texts)
        content = await aside.run(size, lambda: [part for text in texts for part in (text, SEPARATOR)])
        tokens = await self._tokenize(content, size, special=False)
        return await aside.run(len(tokens) * TOKEN, lambda: _by_text(tokens))

    async def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the model wants before and after a text, as its tokenizer does it."""
        word = "a"
        bare, whole = [await self._tokenize(word, len(word), special=special) for special in (False, True)]
        return surroundings(bare, whole)

    async def open(self, path: str, body: object, size: int) -> aiohttp.ClientResponse:
        """The response to a request; closing it closes the connection, which ends the work. Raises Told.

        `size`: characters of the body, roughly.
        """
        return await self._open(self._work, path, body, size)

    async def counters(self) -> Counters:
        """What the server has computed since it was loaded."""
        if self._listener is None:
            raise EngineBroken(detail=f"{self._name} is closed")
        return await asyncio.to_thread(self._listener.counters)

    async def aclose(self) -> None:
        """Free the model and the socket. Requests that still run end with EngineError."""
        listener, self._listener = self._listener, None
        await self._work.close()
        await self._texts.close()
        if listener is None:
            return
        with suppress(TimeoutError):  # the destructor waits for streams, and nothing else runs meanwhile
            async with asyncio.timeout(CLOSE_SECONDS):
                while (await asyncio.to_thread(listener.counters)).running:  # noqa: ASYNC110 the library has no event
                    await asyncio.sleep(CLOSE_POLL)
        await asyncio.to_thread(listener.close)

    async def _tokenize(self, content: object, size: int, *, special: bool) -> list[int]:
        body = {"content": content, "add_special": special, "parse_special": True}
        async with await self._open(self._texts, "/tokenize", body, size) as response:
            try:
                text = await response.read()
                answer = await aside.run(len(text), lambda: aside.parsed(text))
            except FAILURES as error:
                raise EngineError(detail=f"llama.cpp: {error}") from error
        tokens: list[int] = answer["tokens"]
        return tokens

    async def _open(self, http: aiohttp.ClientSession, path: str, body: object, size: int) -> aiohttp.ClientResponse:
        if self._listener is None:
            raise EngineBroken(detail=f"{self._name} is closed")
        data = await aside.run(size, lambda: aside.written(body, size).encode())
        try:
            # A large one goes in pieces.
            response = await http.post(path, data=io.BytesIO(data) if size > aside.LARGE else data, headers=JSON)
            if response.ok:
                return response
            answer = await response.json(content_type=None)
        except FAILURES as error:
            raise EngineError(detail=f"llama.cpp: {error}") from error
        raise failure(answer.get("error", answer))


def _session(listener: Listener, connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {listener.key}"}
    nothing = aiohttp.ClientTimeout(total=None)  # the scheduler has the time-outs
    return aiohttp.ClientSession("http://engine", connector=connector, headers=headers, timeout=nothing)


def _by_text(tokens: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for token in tokens:
        if token == SEPARATOR:
            found.append([])
        else:
            found[-1].append(token)
    return found[:-1]


def _free_socket(data_dir: Path) -> Path:
    """A path in a directory of our own. Files that killed processes left there are removed, live ones are not."""
    path = socket_path(data_dir, f"engine-{secrets.token_hex(4)}.sock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    for other in path.parent.glob("engine-*.sock"):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(other)) == errno.ECONNREFUSED:
                other.unlink(missing_ok=True)
    return path


def library() -> Any:
    """xllamacpp, imported as late as can be. Raises ModelError if it cannot be."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before the import: spinning threads were measured 30 times slower
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(f"llama.cpp cannot be loaded ({error}); {LIBRARY}") from error
    return xllamacpp


def parameters(xllamacpp: Any, config: ModelConfig, way: Way, listens: Path, key: str) -> Any:
    """How the library is to run a model: so that nothing but what is configured decides about memory and time."""
    params = xllamacpp.CommonParams()
    params.model.path = str(config.path)
    params.n_parallel = config.slots
    params.n_ctx = way.context_length * config.slots if way.shared is None else way.shared
    params.kv_unified = way.shared is not None
    params.n_batch = params.n_ubatch = way.batch
    if way.pooling is not None:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{way.pooling.upper()}"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config.threads or _processors()
    params.n_gpu_layers = config.gpu_layers
    params.fit_params = False  # it would change the context length to what it thinks fits
    params.check_tensors = True  # damaged weights load otherwise and write nonsense
    params.cache_ram_mib = config.prompt_cache_mib
    params.hostnames, params.api_keys = [str(listens)], [key]
    params.n_threads_http = config.slots + HTTP_RESERVE
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.endpoint_metrics = True  # what counters() reads
    params.verbosity = 1
    return params


async def started(
    name: str, config: ModelConfig, way: Way, data_dir: Path
) -> tuple[Connection, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Load a model: the connection to it, and what it wants before and after a text.

    The process stands still meanwhile, because the library holds the GIL. Raises ModelError in one line that names
    the file.
    """
    connection = Connection(name, await asyncio.to_thread(_start, config, way, data_dir))
    try:
        return connection, await connection.around()
    except EngineError as error:
        await connection.aclose()
        raise ModelError(f"{config.path}: llama.cpp does not answer on its socket ({error})") from error
    except BaseException:
        await connection.aclose()
        raise


def _start(config: ModelConfig, way: Way, data_dir: Path) -> Listener:
    xllamacpp = library()
    try:
        path, key = _free_socket(data_dir), secrets.token_urlsafe(32)
    except OSError as error:
        raise ModelError(f"{config.path}: no socket for llama.cpp can be made in {data_dir} ({error})") from error
    params = parameters(xllamacpp, config, way, path, key)
    words: list[str] = []
    try:
        with _captured_errors(words):
            server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise refused(config.path, cause(words) or str(error)) from error
    listener = Listener(server, path, key)
    try:
        listener.wait_until_it_answers()
    except OSError as error:
        listener.close()
        raise ModelError(f"{config.path}: llama.cpp does not answer on its socket ({error})") from error
    return listener


def _processors() -> int:
    """Those that this process may use; macOS does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _captured_errors(words: list[str]) -> Iterator[None]:
    """Adds the lines written to file descriptor 2: the library tells the reason of a failed load nowhere else."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except (RuntimeError, ValueError):
            wait_for_cause(file.fileno())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            words += file.read().decode("utf-8", "replace").splitlines()


def wait_for_cause(file: int) -> None:
    """Return when the library's own thread has written why a load failed, or when it has had its time."""
    end = time.monotonic() + LOG_SECONDS
    while CAUSE.encode() not in os.pread(file, os.fstat(file).st_size, 0) and time.monotonic() < end:
        time.sleep(LOG_POLL)


def cause(words: Sequence[str]) -> str:
    """The last line that tells a cause, without the time and the function before it."""
    causes = [line.rpartition(CAUSE)[2] for line in words if CAUSE in line]
    return causes[-1] if causes else next((line for line in reversed(words) if line.strip()), "")


def refused(path: Path, reason: str) -> ModelError:
    """The error of a model that the library does not load."""
    return ModelError(f"{path}: llama.cpp cannot load this model ({reason})")
