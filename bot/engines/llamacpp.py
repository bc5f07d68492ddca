"""Chat on the CPU (or a GPU that llama.cpp knows): xllamacpp's continuous-batching server inside this process.

Everything goes through the server's native HTTP routes on a unix socket of our own: token ids in, token ids out. Its
chat routes parse control tokens in users' text and are never used. Its Python calls need a thread per stream and leave
out the ids; over the socket the event loop does the waiting, closing the connection cancels, and a process that exits
in the middle of a stream has no thread of ours inside the library.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import llguidance
import structlog

from bot import constraints
from bot.config import ModelConfig, socket_path
from bot.engines import gguf, guides, request_body
from bot.engines.frames import Frames, Shown, failure, parse
from bot.errors import EngineBroken, EngineError, ModelError
from bot.generation import Delta, Finish, Generation, Prefill, Usage

log = structlog.get_logger(__name__)

BATCH = 64
"""Tokens per step of prefill. While a step lasts every other stream waits. The server notices a closed stream when it
reports a step, and by then has begun the next one, or after a second of a long one: a cancelled prompt costs the step
under way and at most one more of less than a second. 512 was measured 4 % faster, 32 was 15 % slower."""
LEAST_KV_BYTES = 2**30
"""The KV caches of all slots may take this, or as much as the weights if that is more, where the configuration names no
context length. llama.cpp writes to all of it at the start, so it is not only reserved."""
LEAST_CONTEXT, CONTEXT_STEP = 2048, 256
"""llama.cpp pads a slot's context to 256 tokens; under 2048 no conversation fits."""
DIGEST_DIGITS = 12
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
TOKENIZING = 2
"""Connections that stay open for tokenizing, each of which keeps a server thread; a new one for each call was measured
to take half as long again."""
KEPT_SECONDS = 3.0
"""How long they stay: the library itself would close them after 5 seconds."""
MANY_TOKENS = 50_000
"""Two milliseconds of the event loop to take apart; more is done in a thread."""
LIBRARY = "a small Debian or Ubuntu lacks a library of its: apt-get install libgomp1"
SEPARATOR = -1
"""An id that no vocabulary has: the tokenizer passes numbers through, so one call can carry many texts."""


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


class LlamaCppEngine:
    """A GGUF model as a ChatEngine. Made by `load`."""

    def __init__(self, name: str, file: gguf.ModelFile, context_length: int, listener: Listener) -> None:
        self.name = f"{name}@{file.digest[:DIGEST_DIGITS]}"
        self.control_strings = file.control_strings
        self.context_length = context_length
        self.template = file.template
        self._file = file
        self._listener: Listener | None = listener
        path = str(listener.socket)
        self._streams = _session(listener, aiohttp.UnixConnector(path, limit=0, force_close=True))
        self._texts = _session(listener, aiohttp.UnixConnector(path, limit=TOKENIZING, keepalive_timeout=KEPT_SECONDS))

    @classmethod
    async def load(cls, name: str, config: ModelConfig, data_dir: Path) -> LlamaCppEngine:
        """Load the model; the process stands still meanwhile, because the library holds the GIL.

        Raises ModelError in one line that names the file.
        """
        file = await asyncio.to_thread(gguf.read, config.path)
        _ = file.template  # a model without one is refused before its weights are loaded
        context_length = context_for(file, config)
        listener = await asyncio.to_thread(_start, config, context_length, data_dir)
        log.info(
            "model loaded",
            model=name,
            architecture=file.architecture,
            context_length=context_length,
            slots=config.slots,
            kv_cache_mib=file.kv_bytes_per_token * context_length * config.slots // 2**20,
        )
        return cls(name, file, context_length, listener)

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids in one call; control strings are parsed, no bos is added."""
        if not texts:
            return []
        content = [part for text in texts for part in (text, SEPARATOR)]
        answer = await self._post("/tokenize", {"content": content, "add_special": False, "parse_special": True})
        tokens = answer["tokens"]
        return await asyncio.to_thread(_by_text, tokens) if len(tokens) > MANY_TOKENS else _by_text(tokens)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate; closing the iterator closes the connection, which ends the work at the server's next step."""
        vocabulary = len(self._file.tokens)
        tokens = request_body.room(request, self.context_length, vocabulary)
        if request.is_constrained:
            await asyncio.to_thread(self._check, request)
        body = request_body.body(request, tokens, context_length=self.context_length, vocabulary=vocabulary)
        if tokens == 0:  # llama-server would generate one
            yield Finish(reason="length", usage=Usage(prompt_tokens=len(request.prompt)))
            return
        shown = Shown(self._file, request.shows)
        body["preserved_tokens"] = sorted(shown.names)
        frames = Frames(shown, alternatives=request.sampling.logprobs)
        response = await self._open(self._streams, "/completion", body)
        try:
            async for frame in parse(response.content.iter_any()):
                for event in frames.read(frame):
                    yield event
                    if isinstance(event, Finish):
                        return
            raise EngineError(detail="llama.cpp ended the stream without a word")
        except FAILURES as error:
            raise EngineError(detail=f"llama.cpp: {error}") from error
        finally:
            response.close()

    async def counters(self) -> Counters:
        """What the engine has computed since it was loaded."""
        if self._listener is None:
            raise EngineBroken(detail=f"{self.name} is closed")
        return await asyncio.to_thread(self._listener.counters)

    async def aclose(self) -> None:
        """Free the model and the socket. Streams that still run end with EngineError."""
        listener, self._listener = self._listener, None
        await self._streams.close()
        await self._texts.close()
        if listener is None:
            return
        with suppress(TimeoutError):  # the destructor waits for streams, and nothing else runs meanwhile
            async with asyncio.timeout(CLOSE_SECONDS):
                while (await asyncio.to_thread(listener.counters)).running:  # noqa: ASYNC110 the library has no event
                    await asyncio.sleep(CLOSE_POLL)
        await asyncio.to_thread(listener.close)

    def _check(self, request: Generation) -> None:
        """Raises BadRequest for a constraint that cannot be kept. Tokens are named between these signs, if at all."""
        names_tokens = request.grammar is not None and "<" in request.grammar
        constraints.check(request, self._guide if names_tokens else None)

    @cached_property
    def _guide(self) -> llguidance.LLTokenizer:
        """The vocabulary, as llama.cpp gives it to its own llguidance."""
        pieces = [self._file.named_bytes(i) for i in range(len(self._file.tokens))]
        special = self._file.special_ids.values()
        return guides.guide(pieces, special, self._file.end_ids or {len(pieces) - 1})

    async def _open(self, http: aiohttp.ClientSession, path: str, body: object) -> aiohttp.ClientResponse:
        if self._listener is None:
            raise EngineBroken(detail=f"{self.name} is closed")
        try:
            response = await http.post(path, json=body)
            if response.ok:
                return response
            answer = await response.json(content_type=None)
        except FAILURES as error:
            raise EngineError(detail=f"llama.cpp: {error}") from error
        raise failure(answer.get("error", answer))

    async def _post(self, path: str, body: object) -> Any:
        async with await self._open(self._texts, path, body) as response:
            try:
                return await response.json(content_type=None)
            except FAILURES as error:
                raise EngineError(detail=f"llama.cpp: {error}") from error


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


def context_for(file: gguf.ModelFile, config: ModelConfig) -> int:
    """Tokens per conversation.

    Each slot has a KV cache of its own for so many: with llama.cpp's shared one an overflow fails every stream that
    runs, and idle conversations lose their prefix. A configured length is kept, up to the model's own; otherwise it is
    the model's own, or what fits into the memory that LEAST_KV_BYTES tells of.
    """
    trained = file.context_length or LEAST_CONTEXT
    if config.context_length is not None:
        if config.context_length > trained:
            log.warning("context_length is more than the model has", configured=config.context_length, model=trained)
        return min(config.context_length, trained)
    budget = max(LEAST_KV_BYTES, file.size)
    fits = budget // max(1, file.kv_bytes_per_token * config.slots)
    return min(trained, max(LEAST_CONTEXT, fits // CONTEXT_STEP * CONTEXT_STEP))


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


def parameters(xllamacpp: Any, config: ModelConfig, context_length: int, listens: Path, key: str) -> Any:
    """How the library is to run a model: so that nothing but what is configured decides about memory and time."""
    params = xllamacpp.CommonParams()
    params.model.path = str(config.path)
    params.n_parallel = config.slots
    params.n_ctx = context_length * config.slots
    params.n_batch = params.n_ubatch = BATCH
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


def _start(config: ModelConfig, context_length: int, data_dir: Path) -> Listener:
    xllamacpp = library()
    try:
        path, key = _free_socket(data_dir), secrets.token_urlsafe(32)
    except OSError as error:
        raise ModelError(f"{config.path}: no socket for llama.cpp can be made in {data_dir} ({error})") from error
    params = parameters(xllamacpp, config, context_length, path, key)
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
