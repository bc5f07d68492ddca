"""A browser before the web page, and the processes that serve it: what the page's tests are written with.

Chromium is Debian's. A missing one is installed where that is possible (root on Debian) and an error elsewhere; nothing
is skipped. axe-core, which finds what people with a screen reader stumble over, comes from the npm registry once.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.debian import install, one_at_a_time
from tests.e2e.hearth import DEADLINE, ROOT, wait
from tests.e2e.holding import hold, release
from tests.ports import free_port

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
AXE = "axe-core-4.14.1"
AXE_SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
CACHE = ROOT / ".cache"
PATIENCE_MS = 120_000
"""What is waited for takes a fraction of a second; far more than it takes on a machine that is busy with other things."""
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
SERVERS = {"hearth": [str(Path(sys.executable).with_name("hearth")), "run"]}
"""`hearth run` as people start it, and one whose model writes what a script says."""
SERVERS["scripted"] = [sys.executable, "-m", "tests.e2e.page_server"]


def axe() -> str:
    """The script of axe-core."""
    packed = CACHE / f"{AXE}.tgz"
    if not packed.exists():
        install(Path("/usr/bin/npm").exists, "npm")
    with one_at_a_time("axe"):
        if not packed.exists():
            CACHE.mkdir(exist_ok=True)
            command = ["npm", "pack", "--silent", AXE.replace("core-", "core@")]
            subprocess.run(command, cwd=CACHE, check=True, capture_output=True)
    if hashlib.sha256(packed.read_bytes()).hexdigest() != AXE_SHA256:
        packed.unlink()
        raise RuntimeError(f"{packed.name} is not what it should be")
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@contextmanager
def browser(*arguments: str, **environment: str) -> Iterator[Browser]:
    """A browser of the tests' own. More arguments and variables of its process, if need be."""
    install(CHROMIUM.exists, "chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments], env={**os.environ, **environment}
        )
        try:
            yield started
        finally:
            started.close()


@dataclass
class Served:
    """A process that serves the page. Its data and its port outlive it."""

    folder: Path
    kind: str
    config: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What all its processes wrote."""
        return (self.folder / "log").read_text("utf-8")

    def start(self) -> None:
        """Start a process and wait until it serves."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / "config.toml").write_text(self.config, "utf-8")
        environment = {**os.environ, "HEARTH_DATA_DIR": str(data), "HEARTH_WEB__PORT": str(self.port)}
        with (self.folder / "log").open("ab") as log:
            at = log.tell()
            self.process = process = subprocess.Popen(
                SERVERS[self.kind], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        wait(lambda: "Hearth is ready" in self.log[at:] or process.poll() is not None, "the start")
        assert process.poll() is None, self.log

    @contextmanager
    def held(self, words: str) -> Iterator[None]:
        """Within the block the scripted model stands still as soon as an answer has these words."""
        hold(self.folder / "data", words)
        try:
            yield
        finally:
            release(self.folder / "data")

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """SIGTERM: it ends by itself, with 0."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0, self.log
        self.process = None


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """A server that runs. Whatever happens, no process is left over."""
    served.start()
    try:
        yield served
        if served.process is not None:
            served.stop()
    finally:
        if served.process is not None:
            served.kill()


@dataclass
class Visitor:
    """Somebody before the page. What a browser complains of, and what it asks of strangers, is a problem."""

    page: Page
    origin: str
    phone: bool
    path: str = "/"
    """Of a conversation that there is."""
    problems: list[str] = field(default_factory=list)
    expected: str = "nothing"
    """Words of complaints that belong to the test."""

    def watch(self) -> None:
        """Take note of problems from now on."""
        self.page.on("console", lambda message: self._complained(message.type, message.text))
        self.page.on("pageerror", lambda error: self._complained("error", str(error)))
        self.page.on("request", self._asked)

    def _complained(self, kind: str, words: str) -> None:
        if kind in {"error", "warning"} and self.expected not in words:
            self.problems.append(f"{kind}: {words}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", "blob:")):
            self.problems.append(f"asked a stranger: {request.url}")

    def open(self, path: str = "/") -> None:
        """Go to the page, and wait until it works."""
        self.page.goto(self.origin + path)
        self.ready()

    def ready(self) -> None:
        """Wait until the page works."""
        expect(self.page.locator("#app[data-ready]")).to_be_attached()

    def fresh(self) -> None:
        """Begin a new conversation."""
        self.drawer()
        self.page.locator("#new").click()
        expect(self.page.locator("#empty")).to_be_visible()

    @property
    def field(self) -> Locator:
        """Where messages are written."""
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def stop(self) -> Locator:
        """The button that stops an answer."""
        return self.page.get_by_role("button", name="Stop the answer")

    @property
    def questions(self) -> Locator:
        """What the person said."""
        return self.page.locator(".question")

    @property
    def answers(self) -> Locator:
        """What Hearth said."""
        return self.page.locator(".answer")

    @property
    def last(self) -> Locator:
        """The last answer."""
        return self.answers.last

    def words(self, of: Locator) -> list[str]:
        """The words of messages, as they stand there."""
        return [" ".join(text.split()) for text in of.locator(".body, .bubble").all_inner_texts()]

    def say(self, text: str) -> None:
        """Write a message and send it."""
        self.field.fill(text)
        self.page.get_by_role("button", name="Send").click()

    def ask(self, text: str) -> str:
        """Write, wait for the answer to end, and return it."""
        count = self.answers.count()
        self.say(text)
        expect(self.answers).to_have_count(count + 1)
        self.settled()
        return self.words(self.last)[0]

    def settled(self) -> None:
        """Wait until nothing is being answered and the last answer is stored."""
        expect(self.page.locator('.answer[aria-busy="true"]')).to_have_count(0)
        expect(self.stop).to_be_hidden()
        expect(self.field).to_be_editable()

    def streaming(self, words: str) -> None:
        """Wait until an answer that is still being made has got as far as these words."""
        expect(self.last.locator(".body.streaming")).to_contain_text(words)
        expect(self.stop).to_be_visible()

    def remember(self, what: str) -> None:
        """From now on keep the words of what matches this selector, also of what is there for a moment only."""
        self.page.evaluate(
            """what => {
                window.seen = [];
                const look = () => document.querySelectorAll(what).forEach(one => window.seen.push(one.textContent));
                new MutationObserver(look).observe(document.body,
                    {attributes: true, childList: true, characterData: true, subtree: true});
            }""",
            what,
        )

    def saw(self, words: str) -> None:
        """Wait until what `remember` looks for has had these words."""
        self.page.wait_for_function("words => window.seen.some(one => one.includes(words))", arg=words)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that a handler of the page's requests does: those run while the page is waited for."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
            self.page.wait_for_timeout(10)

    def tool(self, message: Locator, name: str) -> None:
        """Use a button of a message."""
        message.hover()
        message.get_by_role("button", name=name).click()

    def drawer(self) -> None:
        """On a phone: open the side bar."""
        if self.phone and not self.page.locator("#side").evaluate("side => side.classList.contains('open')"):
            self.page.get_by_role("button", name="Conversations", exact=True).click()

    def listed(self, name: str) -> Locator:
        """The entry of a conversation in the side bar."""
        self.drawer()
        return self.page.get_by_role("navigation").get_by_role("link", name=name)

    def menu(self, button: Locator, entry: str) -> None:
        """Choose from a menu."""
        button.click()
        self.page.get_by_role("menu").locator(f'[role^="menuitem"]:has-text("{entry}")').click()

    def of_me(self, entry: str) -> None:
        """Choose from the menu of the person."""
        self.drawer()
        self.menu(self.page.locator("#person"), entry)

    def violations(self, script: str, *rules: str) -> list[str]:
        """What axe-core calls serious or critical, by all its rules or by these. `script`: itself, if it is not here yet."""
        self.page.evaluate(script)
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found: list[dict[str, Any]] = self.page.evaluate(
            "async (options) => (await axe.run(document, options)).violations", options
        )
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wide


@contextmanager
def visiting(browser: Browser, served: Served, *, phone: bool = False, **options: Any) -> Iterator[Visitor]:
    """Somebody before the page; at the end there must have been no problem."""
    context = browser.new_context(**{**(PHONE if phone else DESKTOP), **options})
    context.set_default_timeout(PATIENCE_MS)
    try:
        visitor = Visitor(context.new_page(), served.origin, phone)
        visitor.watch()
        yield visitor
        assert not visitor.problems, visitor.problems
    finally:
        context.close()
