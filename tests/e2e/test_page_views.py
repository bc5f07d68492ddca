"""The pages and panels beside the conversation, and whether everybody can use them: by eye, keyboard and screen reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.debian import install
from tests.e2e.browser import Served, Visitor, axe, browser, serving, visiting
from tests.e2e.page_server import CONFIG

PICTURES = os.environ.get("HEARTH_TEST_PICTURES", "")
"""The folder for the pictures of the README (HEARTH_TEST_PICTURES=docs/images makes them); left out, they are only tried."""
FONTS = Path("/usr/share/fonts/opentype/inter/Inter-Regular.otf")
FONT_PACKAGES = ("fonts-inter", "fonts-jetbrains-mono")
FONT_CHOICE = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}</cachedir>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>ui-monospace</family><prefer><family>JetBrains Mono</family></prefer></alias>
</fontconfig>
"""
"""What a desktop of today has for `system-ui`: a bare server has no such font."""

View = Callable[[Visitor], None]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests of this file."""
    environment = {}
    if PICTURES:
        install(FONTS.exists, *FONT_PACKAGES)
        folder = tmp_path_factory.mktemp("fonts")
        (folder / "fonts.conf").write_text(FONT_CHOICE.format(folder=folder), "utf-8")
        environment["FONTCONFIG_FILE"] = str(folder / "fonts.conf")
    with browser(**environment) as started:
        yield started


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose model writes what a script says."""
    with serving(Served(tmp_path_factory.mktemp("scripted"), "scripted", CONFIG)) as served:
        yield served


@pytest.fixture
def visitor(chromium: Browser, scripted: Served) -> Iterator[Visitor]:
    """Somebody at a desk."""
    with visiting(chromium, scripted) as somebody:
        somebody.open()
        yield somebody


def empty(somebody: Visitor) -> None:
    """A new conversation."""
    somebody.open()


def talk(somebody: Visitor) -> None:
    """A conversation with all that a message can have."""
    somebody.open(somebody.path)
    expect(somebody.last).to_contain_text("The model failed.")


def editor(somebody: Visitor) -> None:
    """A question that is edited."""
    talk(somebody)
    somebody.tool(somebody.questions.last, "Edit the question")


def commands(somebody: Visitor) -> None:
    """The list of commands."""
    somebody.open()
    somebody.field.press_sequentially("/")
    expect(somebody.page.get_by_role("option").first).to_be_visible()


def settings(somebody: Visitor) -> None:
    """A conversation's settings."""
    somebody.open()
    somebody.page.locator("#model-chip").click()
    expect(somebody.page.get_by_role("dialog")).to_be_visible()


def shortcuts(somebody: Visitor) -> None:
    """The list of keys."""
    somebody.open()
    somebody.of_me("Keyboard")
    expect(somebody.page.get_by_role("dialog")).to_be_visible()


def own_menu(somebody: Visitor) -> None:
    """The menu of the person."""
    somebody.open()
    somebody.drawer()
    somebody.page.locator("#person").click()


def search(somebody: Visitor) -> None:
    """What was found."""
    talk(somebody)
    somebody.drawer()
    somebody.page.get_by_role("searchbox").fill("fire")
    expect(somebody.page.locator("#found mark").first).to_be_visible()


def data(somebody: Visitor) -> None:
    """One's own data."""
    somebody.open("/#/data")
    expect(somebody.page.get_by_role("heading", name="Forget me")).to_be_visible()


def owner(somebody: Visitor) -> None:
    """The owner's view, checked."""
    somebody.open("/#/owner")
    somebody.page.get_by_role("button", name="Check now").click()
    expect(somebody.page.get_by_role("group", name="Findings")).to_be_visible()
    somebody.page.get_by_text("As a table").click()


def forget(somebody: Visitor) -> None:
    """The question before one is forgotten."""
    data(somebody)
    somebody.page.get_by_role("button", name="Forget me").click()
    expect(somebody.page.get_by_role("dialog")).to_be_visible()


VIEWS = (talk, empty, editor, commands, settings, shortcuts, own_menu, search, data, owner, forget)


@pytest.fixture(scope="module")
def path(chromium: Browser, scripted: Served) -> str:
    """Of a conversation with a list and code."""
    with visiting(chromium, scripted) as somebody:
        somebody.open()
        for words in ("Herbs for a shady yard", "Names for our garden club", "Sourdough, day three"):
            somebody.ask(words)
            somebody.fresh()
        somebody.ask("How do I bank a wood fire?")
        somebody.ask("And a little Python to count the logs?")
        return somebody.page.url.removeprefix(scripted.origin)


def test_the_pictures_of_the_readme(chromium: Browser, scripted: Served, path: str, tmp_path: Path) -> None:
    """A desktop and a phone, of a conversation whose model says that it is scripted."""
    folder = Path(PICTURES) if PICTURES else tmp_path
    folder.mkdir(exist_ok=True)
    looks = {"desktop": {"viewport": {"width": 1240, "height": 960}, "device_scale_factor": 2}, "phone": {}}
    for name, look in looks.items():
        scheme = "dark" if name == "phone" else "light"
        with visiting(chromium, scripted, phone=name == "phone", color_scheme=scheme, **look) as somebody:
            somebody.open(path)
            expect(somebody.answers).to_have_count(2)
            somebody.page.locator("#scroller").evaluate("box => { box.scrollTop = 0; }")
            somebody.page.screenshot(path=folder / f"page-{name}.png", animations="disabled")
        assert (folder / f"page-{name}.png").stat().st_size > 20_000


@pytest.fixture(scope="module")
def full(chromium: Browser, scripted: Served, path: str) -> str:
    """The same conversation with a branch and a failure too."""
    with visiting(chromium, scripted) as somebody:
        somebody.open(path)
        somebody.tool(somebody.last, "Answer again")
        expect(somebody.last.locator(".branches")).to_contain_text("2/2")
        somebody.say("Now break.")
        expect(somebody.last).to_contain_text("The model failed.")
        return path


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_nobody_is_shut_out_and_nothing_overflows(chromium: Browser, scripted: Served, full: str, phone: bool) -> None:
    """axe-core finds nothing serious in any view, light or dark, and no view is wider than its window."""
    script = axe()
    with visiting(chromium, scripted, phone=phone, bypass_csp=True, reduced_motion="reduce") as somebody:
        somebody.path = full
        for view in VIEWS:
            somebody.page.emulate_media(color_scheme="light")
            view(somebody)
            assert somebody.violations(script) == [], view.__name__
            assert somebody.overflow() == 0, view.__name__
            somebody.page.emulate_media(color_scheme="dark")
            assert somebody.violations("", "color-contrast") == [], f"{view.__name__}, dark"
            somebody.page.goto("about:blank")


def test_the_login_shuts_nobody_out_and_what_is_not_allowed_is_not_shown(chromium: Browser, tmp_path: Path) -> None:
    """Also where it says that a token was wrong; who owns nothing here sees no owner's view."""
    config = f'{CONFIG}\n[web]\ntoken = "correct-horse-battery"\n[web.people]\nmia = "staple-staple-staple"\n'
    with (
        serving(Served(tmp_path, "scripted", config)) as served,
        visiting(chromium, served, phone=True, bypass_csp=True) as somebody,
    ):
        somebody.expected = "status of 401"
        somebody.page.goto(served.origin)
        somebody.page.get_by_label("Your token").fill("wrong-horse-battery")
        somebody.page.keyboard.press("Enter")
        expect(somebody.page.get_by_role("alert")).to_be_visible()
        assert somebody.violations(axe()) == []
        somebody.page.get_by_label("Your token").fill("staple-staple-staple")
        somebody.page.keyboard.press("Enter")
        somebody.ready()
        somebody.open("/#/owner")
        expect(somebody.page.locator("#empty")).to_be_visible()
        expect(somebody.page.locator("#view-owner")).to_be_hidden()


def test_a_conversation_has_settings_of_its_own(visitor: Visitor) -> None:
    """Persona, model, system prompt and retention are kept, shown again, and taken back."""
    page = visitor.page
    settings(visitor)
    page.get_by_label("Persona", exact=True).select_option("pirate")
    page.get_by_label("Model", exact=True).select_option(label="other: another-example")
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Keep messages for").fill("7")
    page.get_by_label("What is heard in recordings").select_option("asked")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#model-name")).to_have_text("pirate · another-example")
    assert visitor.ask("Who are you?").startswith("You said: Who are you?")
    expect(visitor.last.locator(".meta")).to_contain_text("another-example")
    page.reload()
    visitor.ready()
    page.locator("#model-chip").click()
    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")
    expect(page.get_by_label("Keep messages for")).to_have_value("7")
    expect(page.get_by_label("What is heard in recordings")).to_have_value("asked")
    page.get_by_label("Persona", exact=True).select_option("")
    page.get_by_label("Model", exact=True).select_option("")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#model-name")).to_have_text("scripted-example")


def test_people_see_what_they_used_take_it_along_and_are_forgotten(chromium: Browser, tmp_path: Path) -> None:
    """Retention is set for all conversations; forgetting asks for words to be typed."""
    with serving(Served(tmp_path, "scripted", CONFIG)) as served, visiting(chromium, served) as somebody:
        page = somebody.page
        somebody.open()
        somebody.ask("Remember the heron.")
        somebody.of_me("Usage and privacy")
        expect(page.get_by_role("img", name="Tokens on each of the last 30 days")).to_be_visible()
        page.get_by_label("Keep my messages for").fill("3")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("button", name="Saved")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Keep my messages for")).to_have_value("3")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export everything").click()
        assert "Remember the heron." in Path(download.value.path()).read_text("utf-8")
        page.get_by_role("button", name="Forget me").click()
        sure = page.get_by_role("dialog").get_by_role("button", name="Forget me")
        expect(sure).to_be_disabled()
        page.get_by_label('Write "forget me" to go on').fill("forget me")
        sure.click()
        expect(page.get_by_role("status").filter(has_text="2 messages")).to_be_visible()
        expect(page.get_by_role("navigation")).to_contain_text("Your conversations will be here.")


def test_the_owner_sees_what_runs_and_nobodys_words(visitor: Visitor) -> None:
    """Counts by platform, models, adapters, and what `hearth check` finds."""
    visitor.ask("A secret of the heart.")
    visitor.of_me("Owner's view")
    page = visitor.page.locator("#view-owner")
    expect(page.get_by_role("row", name="default scripted-example loaded")).to_be_visible()
    expect(page.get_by_role("row", name="web local listening")).to_be_visible()
    expect(page.get_by_role("group", name="Conversations by platform")).to_contain_text("web")
    expect(page.locator(".figures")).to_contain_text("Unanswered")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("row", name="data directory works")).to_be_visible()
    expect(page).not_to_contain_text("A secret of the heart.")


def test_the_keyboard_alone_is_enough(visitor: Visitor) -> None:
    """From the field to a branch and back without a mouse; Escape closes; the focus is never lost."""
    page, keys = visitor.page, visitor.page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the message field")).to_be_focused()
    keys.press("Enter")
    expect(visitor.field).to_be_focused()
    keys.type("One\ntwo")
    expect(visitor.field).to_have_value("two")
    visitor.settled()
    keys.press("Shift+Enter")
    keys.type("three")
    expect(visitor.field).to_have_value("two\nthree")
    keys.press("Enter")
    expect(visitor.answers).to_have_count(2)
    visitor.settled()
    keys.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit the question")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("textbox", name="Edit the question")).to_be_hidden()
    expect(visitor.questions.last.get_by_role("button", name="Edit the question")).to_be_focused()
    keys.press("Enter")
    page.get_by_role("textbox", name="Edit the question").fill("Five")
    keys.press("Enter")
    expect(visitor.questions.last.locator(".bubble")).to_have_text("Five")
    visitor.settled()
    visitor.questions.last.get_by_role("button", name="Earlier question").focus()
    keys.press("Enter")
    expect(visitor.questions.last.locator(".branches")).to_contain_text("1/2")
    expect(visitor.questions.last.get_by_role("button", name="Later question")).to_be_focused()
    visitor.last.get_by_role("button", name="Answer again").focus()
    keys.press("Enter")
    expect(visitor.last.locator(".branches")).to_contain_text("2/2")
    expect(visitor.last.get_by_role("button", name="Answer again")).to_be_focused()
    keys.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("search all conversations")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    keys.press("Control+k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    keys.type("three")
    expect(page.locator("#found a").first).to_be_visible()
    keys.press("ArrowDown")
    expect(page.locator("#found a").first).to_be_focused()
    keys.press("Escape")
    keys.press("Escape")
    expect(page.locator("#list")).to_be_visible()
    keys.press("Control+Shift+O")
    expect(visitor.field).to_be_focused()
    expect(page.locator("#empty")).to_be_visible()
    page.locator("#person").focus()
    keys.press("Enter")
    keys.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Owner's view")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.locator("#person")).to_be_focused()


def test_a_screen_reader_hears_the_answer_once_when_it_is_done(visitor: Visitor) -> None:
    """And not each token."""
    visitor.page.evaluate(
        """() => {
            window.heard = [];
            const region = document.getElementById('announce');
            new MutationObserver(() => region.textContent && window.heard.push(region.textContent))
                .observe(region, {childList: true, characterData: true, subtree: true});
        }"""
    )
    visitor.ask("Read me this.")
    visitor.page.wait_for_function("window.heard.length > 0")
    heard = visitor.page.evaluate("window.heard")
    assert len(heard) == 1
    assert heard[0].startswith("Hearth: You said: Read me this.")


def test_the_drawer_of_a_phone_is_reached_and_left_by_keyboard(chromium: Browser, scripted: Served) -> None:
    """While it is open the page behind it is not there for anybody; closed, neither is the drawer."""
    with visiting(chromium, scripted, phone=True) as somebody:
        somebody.open()
        page = somebody.page
        expect(page.get_by_role("searchbox")).to_be_hidden()
        opener = page.get_by_role("button", name="Conversations", exact=True)
        opener.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Close the side bar")).to_be_focused()
        expect(page.locator("#main")).to_have_attribute("inert", "")
        page.keyboard.press("Escape")
        expect(opener).to_be_focused()
        expect(page.get_by_role("searchbox")).to_be_hidden()
