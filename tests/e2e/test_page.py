"""People talk on the web page: a real process, a real browser, on a desktop and on a phone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from adapters.web.conversations import LINE
from tests.e2e.browser import SERVERS, Served, Visitor, browser, serving, visiting
from tests.e2e.hearth import ROOT
from tests.e2e.page_server import CONFIG

STATIC = ROOT / "adapters/web/static"
BOTH = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for all tests of this file."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose model writes what a script says, slowly enough to be caught at it."""
    with serving(Served(tmp_path_factory.mktemp("scripted"), "scripted", CONFIG)) as served:
        yield served


@pytest.fixture
def visitor(chromium: Browser, scripted: Served) -> Iterator[Visitor]:
    """Somebody at a desk."""
    with visiting(chromium, scripted) as somebody:
        somebody.open()
        yield somebody


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`hearth run` with nothing configured."""
    with serving(Served(tmp_path_factory.mktemp("demo"), "hearth")) as served:
        yield served


@BOTH
def test_the_embedded_model_answers_on_the_page_of_hearth_run(chromium: Browser, demo: Served, phone: bool) -> None:
    """Nothing is configured: the page says truthfully what answers, and it remembers a name."""
    with visiting(chromium, demo, phone=phone) as somebody:
        somebody.open()
        expect(somebody.page.locator("#empty")).to_contain_text("about three million parameters")
        program = "hearth" if shutil.which("hearth") else SERVERS["hearth"][0]
        command = somebody.page.locator("#empty code")
        expect(command).to_contain_text(f"{program} models pull")
        assert command.evaluate("code => code.scrollHeight - code.clientHeight") == 0  # underscores are whole
        assert somebody.ask("My name is Zelda.") == "Nice to meet you, Zelda!"
        assert somebody.ask("What is my name?") == "Your name is Zelda."
        expect(somebody.page.locator("#model-name")).to_have_text("Hearth demo")
        assert somebody.overflow() == 0


@BOTH
def test_an_answer_streams_and_is_stopped_and_answered_again(chromium: Browser, scripted: Served, phone: bool) -> None:
    """What was written until the stop stays; another answer stands beside it, behind arrows."""
    with visiting(chromium, scripted, phone=phone) as somebody:
        somebody.open()
        with scripted.held("Paragraph 2."):
            somebody.say("Something long, please.")
            somebody.streaming("Paragraph 1.")
            somebody.stop.click()
            somebody.settled()
            stopped = somebody.words(somebody.last)[0]
            assert stopped.startswith("Paragraph 1.")
            assert "Paragraph 12." not in stopped
            expect(somebody.last).to_contain_text("Stopped")
            somebody.tool(somebody.last, "Answer again")
            somebody.streaming("Paragraph 1.")
            somebody.stop.click()
            somebody.settled()
        expect(somebody.last.locator(".branches")).to_contain_text("2/2")
        expect(somebody.answers).to_have_count(1)
        somebody.tool(somebody.last, "Earlier answer")
        expect(somebody.last.locator(".branches")).to_contain_text("1/2")
        assert somebody.words(somebody.last) == [stopped]


def held(route: Route) -> None:
    """A request that is on its way until the route is taken off."""


@BOTH
def test_an_edited_question_is_a_branch(chromium: Browser, scripted: Served, phone: bool) -> None:
    """The question becomes an editor in place; what was said before stays behind arrows, with all that followed."""
    with visiting(chromium, scripted, phone=phone) as somebody:
        somebody.open()
        somebody.ask("Zebras?")
        somebody.ask("And giraffes?")
        somebody.tool(somebody.questions.first, "Edit the question")
        editor = somebody.page.get_by_role("textbox", name="Edit the question")
        expect(editor).to_have_value("Zebras?")
        editor.fill("Lions?")
        somebody.page.route("**/api/conversations/*", held)
        somebody.page.locator(".editor").get_by_role("button", name="Send").click()
        expect(editor).to_be_hidden()
        expect(somebody.questions.locator(".bubble")).to_have_text(["Lions?"])
        somebody.page.unroute("**/api/conversations/*")
        expect(somebody.questions.locator(".bubble")).to_have_text(["Lions?"])
        somebody.settled()
        expect(somebody.questions.first.locator(".branches")).to_contain_text("2/2")
        assert somebody.words(somebody.last)[0].startswith("You said: Lions?")
        somebody.tool(somebody.questions.first, "Earlier question")
        expect(somebody.questions.locator(".bubble")).to_have_text(["Zebras?", "And giraffes?"])
        expect(somebody.questions.first.locator(".branches")).to_contain_text("1/2")


def test_an_edit_takes_the_place_of_what_is_being_answered(visitor: Visitor, scripted: Served) -> None:
    """Nobody waits for an answer that the line has left."""
    visitor.ask("Zebras?")
    with scripted.held("Paragraph 2."):
        visitor.say("A long one of giraffes?")
        visitor.streaming("Paragraph 1.")
        visitor.tool(visitor.questions.first, "Edit the question")
        visitor.page.get_by_role("textbox", name="Edit the question").fill("Lions?")
        visitor.page.keyboard.press("Enter")
        expect(visitor.questions.locator(".bubble")).to_have_text(["Lions?"])
        visitor.settled()
    visitor.tool(visitor.questions.first, "Earlier question")
    expect(visitor.last).to_contain_text("Stopped")


def test_a_page_that_is_loaded_again_in_mid_answer_shows_the_rest(visitor: Visitor, scripted: Served) -> None:
    """The answer goes on while nobody looks, and stands there once."""
    with scripted.held("Paragraph 2."):
        visitor.say("A long one, I will be back.")
        visitor.streaming("Paragraph 2.")
        with scripted.held("Paragraph 3."):
            visitor.page.reload()
            visitor.ready()
            visitor.streaming("Paragraph 3.")
    expect(visitor.last).to_contain_text("Paragraph 12. The embers glow, the kettle hums, and the evening is quiet.")
    visitor.settled()
    expect(visitor.answers).to_have_count(1)
    expect(visitor.questions).to_have_count(1)


@BOTH
def test_conversations_are_searched_renamed_exported_and_deleted(
    chromium: Browser, scripted: Served, phone: bool
) -> None:
    """All from the side bar; what is found leads to its message."""
    with visiting(chromium, scripted, phone=phone) as somebody:
        somebody.open()
        word = "quokka" if phone else "axolotl"
        somebody.ask(f"Tell me of the {word}.")
        somebody.ask("And of nothing else.")
        page = somebody.page
        entry = somebody.listed(f"Tell me of the {word}.")
        somebody.menu(page.get_by_role("button", name=f"More about Tell me of the {word}."), "Rename")
        page.get_by_role("textbox", name="Name of the conversation").fill(f"About the {word}")
        page.keyboard.press("Enter")
        entry = somebody.listed(f"About the {word}")
        expect(entry).to_be_visible()
        expect(page.locator("#title")).to_have_text(f"About the {word}")
        more = page.get_by_role("button", name=f"More about About the {word}")
        for form, suffix in (("JSON", "json"), ("Markdown", "md")):
            with page.expect_download() as download:
                somebody.menu(more, f"Export as {form}")
            assert download.value.suggested_filename == f"About the {word}.{suffix}"
            written = Path(download.value.path()).read_text("utf-8")
            assert f"Tell me of the {word}." in written
        somebody.fresh()
        somebody.drawer()
        page.get_by_role("searchbox", name="Search all conversations").fill(f"{word} TELL")
        found = page.get_by_role("region", name="Search results").get_by_role("link")
        expect(found).to_have_count(2)
        expect(found.last.locator("mark").last).to_have_text(word)
        somebody.remember(".row.jumped .bubble")
        found.last.click()
        somebody.saw(f"Tell me of the {word}.")
        somebody.drawer()
        page.get_by_role("searchbox").fill("")
        somebody.menu(more, "Delete")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(entry).to_have_count(0)
        expect(page.locator("#empty")).to_be_visible()


def test_a_message_that_was_received_without_the_page_hearing_of_it_is_not_doubled(visitor: Visitor) -> None:
    """The acknowledgement is lost on its way: the page sends the same event again."""
    events: list[str] = []
    again: list[Route] = []
    """What is sent once more, on its way until the page was looked at."""

    def lose(route: Route) -> None:
        events.append(json.loads(route.request.post_data or "{}")["event"])
        if len(events) == 1:
            assert route.fetch().status == 202
            route.abort()
        else:
            again.append(route)

    visitor.expected = "net::ERR_FAILED"
    visitor.ask("First of all.")
    visitor.page.route("**/messages", lose)
    visitor.say("Just once.")
    expect(visitor.page.locator("#composer-state")).to_contain_text("No connection")
    visitor.until(lambda: bool(again), "the second try")
    again[0].continue_()
    expect(visitor.field).to_have_value("")
    visitor.settled()
    assert len(events) == 2
    assert events[0] == events[1]
    expect(visitor.questions.locator(".bubble")).to_have_text(["First of all.", "Just once."])


def test_a_message_that_cannot_be_sent_survives_a_reload(visitor: Visitor) -> None:
    """It stays in the field, is sent when the connection is back, and can be taken back before."""
    visitor.expected = "net::ERR_FAILED"
    visitor.page.route("**/messages", lambda route: route.abort())
    visitor.say("Wait for me.")
    expect(visitor.page.locator("#composer-state")).to_contain_text("No connection")
    visitor.page.get_by_role("button", name="Take the message back").click()
    expect(visitor.field).to_be_editable()
    visitor.field.fill("Wait for me!")
    visitor.page.get_by_role("button", name="Send").click()
    expect(visitor.page.locator("#composer-state")).to_contain_text("No connection")
    visitor.page.reload()
    visitor.ready()
    expect(visitor.field).to_have_value("Wait for me!")
    visitor.page.unroute("**/messages")
    expect(visitor.questions.locator(".bubble")).to_have_text(["Wait for me!"])
    visitor.settled()
    expect(visitor.field).to_have_value("")


def test_the_server_may_die_under_the_page(chromium: Browser, tmp_path: Path) -> None:
    """Killed in mid-answer and started again: the page says so, comes back by itself, and has everything once."""
    served = Served(tmp_path, "scripted", CONFIG)
    with serving(served), visiting(chromium, served) as somebody:
        somebody.expected = "net::ERR_"
        somebody.open()
        with served.held("Paragraph 2."):
            somebody.say("A long one, and die.")
            somebody.streaming("Paragraph 2.")
            served.kill()
        expect(somebody.page.locator("#banner")).to_contain_text("The connection to Hearth is lost")
        somebody.say("Are you back?")
        expect(somebody.page.locator("#composer-state")).to_contain_text("No connection")
        served.start()
        expect(somebody.page.locator("#banner")).to_be_hidden()
        expect(somebody.answers).to_have_count(2)
        somebody.settled()
        expect(somebody.questions.locator(".bubble")).to_have_text(["A long one, and die.", "Are you back?"])
        first, second = somebody.words(somebody.answers)
        assert first.count("Paragraph 12.") == 1
        assert second.startswith("You said: Are you back?")


def test_two_messages_in_a_hurry_are_both_sent(visitor: Visitor) -> None:
    """Enter is pressed for the second while the first is on its way."""
    held: list[Route] = []
    visitor.ask("Hello.")
    visitor.page.route("**/messages", lambda route: held.append(route) if not held else route.continue_())
    visitor.field.focus()
    visitor.page.keyboard.type("One\ntwo\n")
    expect(visitor.field).to_have_value("Onetwo")
    visitor.until(lambda: bool(held), "the first one")
    held[0].continue_()
    expect(visitor.questions.locator(".bubble")).to_have_text(["Hello.", "One", "two"])
    visitor.settled()
    expect(visitor.field).to_have_value("")


def test_a_failure_is_told_in_words_and_tried_again(visitor: Visitor) -> None:
    """With a button for another try, also after a reload."""
    visitor.say("Please break.")
    expect(visitor.last).to_contain_text("The model failed. Please try again.")
    visitor.page.reload()
    visitor.ready()
    expect(visitor.last).to_contain_text("The model failed. Please try again.")
    visitor.last.get_by_role("button", name="Try again").click()
    expect(visitor.last.locator(".body.failed")).to_contain_text("The model failed. Please try again.")
    expect(visitor.answers).to_have_count(1)
    visitor.tool(visitor.questions.last, "Edit the question")
    visitor.page.get_by_role("textbox", name="Edit the question").fill("Hold together.")
    visitor.page.keyboard.press("Enter")
    expect(visitor.last).to_contain_text("You said: Hold together.")
    visitor.settled()
    expect(visitor.questions.locator(".bubble")).to_have_text(["Hold together."])


def test_who_waits_long_is_told_the_place_in_the_queue(chromium: Browser, scripted: Served) -> None:
    """The model has one slot, and somebody else has it until the answer is stopped."""
    with (
        visiting(chromium, scripted) as first,
        visiting(chromium, scripted) as second,
        scripted.held("Paragraph 2."),
    ):
        first.open()
        second.open()
        first.say("A long one, please.")
        first.streaming("Paragraph 1.")
        second.say("May I?")
        expect(second.last.locator(".notice")).to_contain_text("place 1 in the queue")
        first.stop.click()
        second.settled()
        assert second.words(second.last)[0].startswith("You said: May I?")


def test_two_pages_of_one_person_show_the_same(chromium: Browser, scripted: Served) -> None:
    """What is said on one streams on the other, and a new name comes too."""
    with visiting(chromium, scripted) as one, visiting(chromium, scripted) as other:
        one.open()
        one.ask("Is anybody there?")
        other.open(one.page.url.removeprefix(one.origin))
        with scripted.held("Paragraph 2."):
            one.say("A long one for both.")
            one.streaming("Paragraph 2.")
            other.streaming("Paragraph 2.")
            other.stop.click()
            one.settled()
        assert one.words(one.last)[0].startswith("Paragraph 1.")
        one.menu(one.page.locator("#conversation-menu"), "Rename")
        one.page.get_by_role("textbox", name="Name of the conversation").fill("For both")
        one.page.keyboard.press("Enter")
        expect(other.page.locator("#title")).to_have_text("For both")


def test_commands_are_completed_and_answered(visitor: Visitor) -> None:
    """A slash lists them; the keyboard chooses; files are links."""
    visitor.field.press_sequentially("/pri")
    options = visitor.page.get_by_role("listbox", name="Commands").get_by_role("option")
    expect(options).to_have_count(1)
    visitor.page.keyboard.press("Tab")
    expect(visitor.field).to_have_value("/privacy ")
    assert "kept for 30 days" in visitor.ask("/privacy")
    visitor.ask("/export")
    with visitor.page.expect_download() as download:
        visitor.last.get_by_role("link", name="hearth-export.json").click()
    assert download.value.suggested_filename == "hearth-export.json"
    visitor.ask("Still the same conversation.")
    expect(visitor.questions.locator(".bubble")).to_have_text(["/privacy", "/export", "Still the same conversation."])


def test_with_a_token_people_log_in_and_out(chromium: Browser, tmp_path: Path) -> None:
    """A wrong token is refused in words; the right one opens the page; after the log-out it is closed again."""
    config = f'{CONFIG}\n[web]\ntoken = "correct-horse-battery"\n[web.people]\nmia = "staple-staple-staple"\n'
    with serving(Served(tmp_path, "scripted", config)) as served, visiting(chromium, served) as somebody:
        somebody.expected = "status of 401"
        page = somebody.page
        page.goto(served.origin)
        token = page.get_by_label("Your token")
        expect(token).to_be_focused()
        token.fill("wrong-horse-battery")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("This token is not right.")
        token.fill("staple-staple-staple")
        page.get_by_role("button", name="Log in").click()
        somebody.ready()
        expect(page.locator("#person-name")).to_have_text("mia")
        assert somebody.ask("Hello").startswith("You said: Hello")
        page.locator("#person").click()
        expect(page.get_by_role("menu")).not_to_contain_text("Owner's view")
        page.keyboard.press("Escape")
        somebody.of_me("Log out")
        expect(page.get_by_label("Your token")).to_be_visible()
        page.goto(served.origin)
        expect(page.get_by_label("Your token")).to_be_visible()


def test_the_kept_theme_is_there_before_the_page(visitor: Visitor) -> None:
    """Dark was chosen: a reload is dark from the first paint."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visitor.page.evaluate(ground)
    visitor.of_me("Dark")
    dark = visitor.page.evaluate(ground)
    assert dark != light
    visitor.page.reload()
    assert visitor.page.evaluate(ground) == dark


def test_every_module_is_asked_for_at_once() -> None:
    """The browser need not read one to learn of the next."""
    page = (STATIC / "index.html").read_text("utf-8")
    modules = {file.name for file in STATIC.glob("*.js")} - {"main.js", "theme.js"}
    assert set(re.findall(r'rel="modulepreload" href="/static/([a-z]+\.js)"', page)) == modules


def test_both_copies_of_the_dark_theme_are_equal() -> None:
    """A media query and an attribute cannot share a rule, so the dark colours stand twice in the style sheet."""
    css = (STATIC / "theme.css").read_text("utf-8")
    attribute = css.partition('[data-theme="dark"] {')[2].partition("}")[0]
    media = css.partition(':not([data-theme="light"]) {')[2].partition("}")[0]
    assert "--accent:" in attribute
    assert attribute.split() == media.split()


def test_a_long_conversation_is_read_backwards(visitor: Visitor) -> None:
    """The page has its end; what came before is fetched when it is asked for, or when a search leads there."""
    visitor.ask("The very first one.")
    chat = visitor.page.url.rpartition("/")[2]
    headers = {"X-Hearth": "page", "Origin": visitor.origin}
    for number in range(LINE):
        sent = visitor.page.request.post(
            f"{visitor.origin}/api/conversations/{chat}/messages",
            headers=headers,
            data={"event": f"question-{number}", "text": f"quick {number}"},
        )
        assert sent.status == 202
    expect(visitor.answers).to_have_count(LINE + 1)
    visitor.settled()
    visitor.page.reload()
    visitor.ready()
    expect(visitor.answers).to_have_count(LINE // 2)
    seen = visitor.questions.first
    before = seen.locator(".bubble").inner_text()
    visitor.page.get_by_role("button", name="Show earlier messages").click()
    expect(visitor.answers).to_have_count(LINE)
    expect(visitor.page.get_by_text(before, exact=True)).to_be_in_viewport()
    visitor.page.reload()
    visitor.ready()
    visitor.page.get_by_role("searchbox").fill("very first")
    visitor.remember(".row.jumped .bubble")
    visitor.page.locator("#found a").last.click()
    visitor.saw("The very first one.")
    expect(visitor.questions.first).to_be_in_viewport()


def test_words_cannot_forge_the_page(visitor: Visitor) -> None:
    """Markup in a message, in a name and in what is found is shown as words; nothing runs, nothing is fetched."""
    forged = '<img src=x onerror="window.forged=1"> <script>window.forged=1</script> **bold**'
    visitor.ask(f"{forged} ![x](https://elsewhere.example/x.png) [y](javascript:window.forged=1)")
    expect(visitor.questions.locator("strong")).to_have_text("bold")
    visitor.menu(visitor.page.locator("#conversation-menu"), "Rename")
    visitor.page.get_by_role("textbox", name="Name of the conversation").fill(forged)
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.locator("#title")).to_have_text(forged)
    visitor.page.get_by_role("searchbox").fill("onerror")
    expect(visitor.page.locator("#found mark").first).to_have_text("onerror")
    assert visitor.page.evaluate("window.forged") is None
    assert visitor.page.locator("#messages img, #messages script, #found img, #list img").count() == 0
    assert visitor.page.locator('#messages a[href^="javascript"]').count() == 0


def test_code_and_answers_are_copied_as_they_were_written(visitor: Visitor) -> None:
    """The code alone, and the answer as Markdown."""
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.ask("Some Python, please.")
    visitor.remember(".answer button")
    visitor.page.get_by_role("button", name="Copy the code").click()
    visitor.saw("Copied")
    copied = visitor.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("from collections import Counter\n")
    assert copied.endswith("return Counter(log.read_text().split())")
    visitor.tool(visitor.last, "Copy the answer")
    visitor.page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('```python')")


def test_what_is_written_is_kept_for_each_conversation(visitor: Visitor) -> None:
    """A draft waits where it was begun."""
    visitor.ask("One conversation.")
    visitor.field.fill("half a thought")
    visitor.fresh()
    expect(visitor.field).to_have_value("")
    visitor.listed("One conversation.").click()
    expect(visitor.field).to_have_value("half a thought")
