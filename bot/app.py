"""The composition root: the only module that knows every concrete part. Nothing is built at import."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from adapters.console.account import account_in
from adapters.console.adapter import Console
from adapters.console.keys import ApiOwner
from adapters.console.operator import Operator, numbers
from adapters.console.wire import ACCOUNT
from adapters.delivery import Delivery
from adapters.web.adapter import WebPage
from bot import commands
from bot.config import Config, DiscordConfig, LogConfig, SpeechConfig, TelegramConfig, socket_path
from bot.dispatcher import ATTEMPTS, LEASE_SECONDS, Dispatcher
from bot.engines.registry import Loader, Registry
from bot.errors import ConfigError, DatabaseError, StartError
from bot.inbox import Inbox
from bot.manager import Manager
from bot.metered import Metered
from bot.metrics import Metrics
from bot.page import page
from bot.ports import Adapter, Forgotten, Notes
from bot.programs import programs
from bot.recent import LastErrors
from bot.speech.decode import AudioLimits, Decoder
from bot.speech.models import SpeechModels
from bot.vitals import Vitals
from bot.voice import Limits, Voice
from storage.store import SqlStore

log = structlog.get_logger(__name__)

RETENTION_SECONDS = 3600.0
"""How often what is past its retention is removed."""
RESTART_SECONDS, RESTART_MOST = 1.0, 60.0
"""How long an adapter that died rests before its next start: doubled each time."""
HEALTHY_SECONDS = 300.0
"""An adapter that lived so long begins again with the shortest rest."""
RELOADED = ("personas", "permissions", "groups", "chat", "queue")
"""The sections of the configuration that a running process takes over anew."""


class App:
    """A running Hearth. Made by `running`."""

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        store: SqlStore,
        registry: Registry,
        *,
        speech: SpeechModels | None,
        metrics: Metrics,
        socket: Path,
        lease: float,
        errors: LastErrors | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.registry = registry
        self._reload = reload
        self._metrics = metrics
        self.socket = socket
        self.adapters: dict[tuple[str, str], Adapter] = {}
        """By platform and bot account."""
        self._metered: dict[tuple[str, str], Adapter] = {}
        manager = Manager(
            store,
            registry,
            lambda: self.config,
            attempts=ATTEMPTS,
            removed=self._removed,
            voice=None if speech is None else _voice(config.speech, speech),
        )
        delivery = Delivery(store, code_file_lines=lambda: self.config.chat.code_file_lines)
        self.dispatcher = Dispatcher(
            store, manager, delivery, self._metered, lambda: self.config, lease=lease, metrics=metrics
        )
        told = (self.dispatcher.coming, self.dispatcher.committed, self.dispatcher.say)
        self.inbox = Inbox(store, lambda: self.config, *told, metrics=metrics)
        self._vitals = vitals = Vitals(store, registry, self.dispatcher, self.adapters, metrics)
        self.health, self.readiness, self.scrape = vitals.health, vitals.readiness, vitals.scrape
        account = account_in(config.data_dir) if config.shared_database else ACCOUNT
        operator = Operator(store, self.health, self._removed, account=account)
        routes = (operator, ApiOwner(store), numbers(self.readiness, self.scrape))
        self.console = Console(socket, *routes, is_open=store.is_open, answer_to=store.answer_to, account=account)
        self.add(account, self.console)
        self.page: WebPage | None = None
        if errors is not None and config.web.enabled:
            api = None
            if config.api.enabled:
                api = programs(lambda: self.config, store, registry, speech, account=account)
            self.page = page(
                lambda: self.config,
                store,
                registry,
                vitals,
                account=account,
                errors=errors,
                removed=self._removed,
                programs=api,
            )
            self.add(account, self.page)

    def add(self, account: str, adapter: Adapter) -> None:
        """Serve a bot account too. To be called before anything listens."""
        self.adapters[adapter.name, account] = adapter
        self._metered[adapter.name, account] = Metered(adapter, self._metrics)

    def reload(self) -> None:
        """Read the configuration again. What is not of RELOADED takes effect at the next start; the log says so."""
        try:
            new = self._reload()
        except ConfigError as error:
            log.error("the configuration stays as it was", error=str(error))
            return
        self.config = self.config.model_copy(update={name: getattr(new, name) for name in RELOADED})
        self.registry.set_limits(new.queue)
        log.info("configuration read again", personas=list(new.personas))
        late = [name for name in Config.model_fields if getattr(new, name) != getattr(self.config, name)]
        if "models" not in late and new.embedding_models != self.config.embedding_models:
            late.append("models")
        if late:
            log.warning("changes that take effect at the next start", sections=late)

    async def listen(self, account: str, adapter: Adapter) -> None:
        """Keep an adapter alive: whatever kills it, it is started again, and the others go on."""
        rest = 0.0
        while True:
            began = time.monotonic()
            try:
                await adapter.publish(commands.menu(lambda: self.config, guilds=adapter.limits.guilds))
                await adapter.listen(self.inbox.receive)
            except DatabaseError as error:
                # A full disk may have room again; the platform has had no acknowledgement and repeats the event.
                log.error("heard, but not received", adapter=adapter.name, reason=str(error))
            except StartError:
                raise
            except Exception as error:
                log.exception("adapter died", adapter=adapter.name)
                self._metrics.failed(error)
            healthy = time.monotonic() - began > HEALTHY_SECONDS
            rest = RESTART_SECONDS if healthy or not rest else min(rest * 2, RESTART_MOST)
            log.warning("an adapter rests before its next start", adapter=adapter.name, seconds=rest)
            self._vitals.resting.add((adapter.name, account))
            await asyncio.sleep(rest)
            self._vitals.resting.discard((adapter.name, account))

    async def keep_retention(self) -> None:
        """Remove what is past its time, now and every hour."""
        while True:
            try:
                gone = await self.store.expire(datetime.now(UTC), self.config.retention.days)
                self._removed(gone)
                if gone.messages:
                    log.info("removed what is past its retention", messages=gone.messages)
            except DatabaseError as error:
                log.error("retention could not be kept", error=str(error))
            await asyncio.sleep(RETENTION_SECONDS)

    def _removed(self, gone: Forgotten) -> None:
        self.dispatcher.removed(gone)
        if self.page is not None:
            self.page.removed(gone)

    def refuse(self) -> None:
        """Take no message from now on at the terminal and on the page: nobody would answer it."""
        self.console.refuse()
        if self.page is not None:
            self.page.refuse()

    async def drain(self) -> None:
        """Let the answers and the requests of programs that are in progress end, within `chat.drain`."""
        seconds = self.config.chat.drain
        programs = () if self.page is None else (self.page.drain(seconds),)
        await asyncio.gather(self.dispatcher.drain(seconds), *programs)


@asynccontextmanager
async def running(
    config: Config,
    *,
    reload: Callable[[], Config] | None = None,
    adapters: Sequence[tuple[str, Adapter]] = (),
    answering: bool = True,
    preload: bool = True,
    loaders: Mapping[str, Loader] | None = None,
    store: type[SqlStore] = SqlStore,
    lease: float = LEASE_SECONDS,
    errors: LastErrors | None = None,
) -> AsyncIterator[App]:
    """Start Hearth; on leaving it drains and closes everything.

    `adapters`: bot account and adapter, beside the console. `answering` False: for the owner's requests only, on a
    socket of its own that nobody else finds; questions go on waiting. `preload`: load the default model before serving.
    `loaders`: of engines, by the suffix of a model's path. `lease`: seconds for which an answer in progress is this
    process's alone. `errors`: the last ones of the log; with these the web page is served, and Telegram and Discord. Raises StartError; InUse if
    another process owns the database.
    """
    _make_private(config)
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        opened = await store.open(
            config.database_url, default_retention_days=config.retention.days, measured=metrics.database
        )
        stack.push_async_callback(opened.aclose)
        registry = _registry(config, loaders, metrics)
        stack.push_async_callback(registry.aclose)
        socket = config.socket if answering else socket_path(config.data_dir, f"command-{os.getpid()}.sock")
        reload = reload or (lambda: config)
        speech = SpeechModels(config.speech, config.data_dir) if config.speech.enabled and answering else None
        if speech is not None:
            stack.push_async_callback(speech.aclose)
        parts = (config, reload, opened, registry)
        app = App(*parts, speech=speech, metrics=metrics, socket=socket, lease=lease, errors=errors)
        if errors is not None and config.telegram.account:
            app.add(config.telegram.account, _telegram(config.telegram))
        if errors is not None and config.discord.account:
            app.add(config.discord.account, _discord(config.discord, opened))
        for account, adapter in adapters:
            app.add(account, adapter)
        if preload and answering:
            await registry.get("default")
        async with asyncio.TaskGroup() as group:
            heard = [(key[1], adapter) for key, adapter in app.adapters.items() if answering or adapter is app.console]
            tasks = [group.create_task(app.listen(account, adapter)) for account, adapter in heard]
            await _ready(app, tasks)
            if answering:
                work = (app.dispatcher.run(), app.keep_retention(), metrics.watch_loop())
                tasks += [group.create_task(one) for one in work]
            try:
                yield app
            finally:
                app.refuse()
                await app.drain()
                for task in tasks:
                    task.cancel()


async def _ready(app: App, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until the local socket and the page answer, or a listener says why it cannot."""

    async def both() -> None:
        await app.console.listening.wait()
        if app.page is not None:
            await app.page.listening.wait()

    ready = asyncio.create_task(both())
    try:
        await asyncio.wait([ready, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()


def _telegram(config: TelegramConfig) -> Adapter:
    from adapters.telegram.adapter import Telegram  # its library takes 0.3 s to import, for those who use it

    return Telegram(config)


def _discord(config: DiscordConfig, notes: Notes) -> Adapter:
    from adapters.discord.adapter import Discord  # as above

    return Discord(config, notes)


def _registry(config: Config, loaders: Mapping[str, Loader] | None, metrics: Metrics) -> Registry:
    return Registry(
        config.models,
        config.queue,
        config.data_dir,
        embedding=config.embedding_models,
        loaded_models=config.engine.loaded_models,
        loaders=loaders,
        metrics=metrics,
    )


def _voice(config: SpeechConfig, speech: SpeechModels) -> Voice:
    decode = Decoder(AudioLimits(config.max_duration, config.max_bytes))
    return Voice(
        decode,
        speech,
        Limits(config.max_duration, config.max_bytes),
        model=config.model,
        language=config.language,
        keep=config.keep_recordings,
        workers=config.workers,
    )


def _make_private(config: Config) -> None:
    """The data directory is its owner's alone."""
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError as error:
        raise StartError(f"{config.data_dir} is not a directory. HEARTH_DATA_DIR chooses another.") from error
    except OSError as error:
        raise StartError(
            f"{config.data_dir} cannot be made ({error.strerror}). HEARTH_DATA_DIR chooses another."
        ) from error


def configure_logging(config: LogConfig, *, quiet: bool = False, errors: LastErrors | None = None) -> None:
    """Log to standard error: text for people, or JSON lines. `quiet`: warnings and errors only.

    `errors`: keeps the last ones.
    """
    level = (
        logging.WARNING if quiet and config.level == "info" else logging.getLevelNamesMapping()[config.level.upper()]
    )
    # The traces are plain: the pretty ones print local variables, and with them what people wrote.
    render: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if config.format == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([errors] if errors else []),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
