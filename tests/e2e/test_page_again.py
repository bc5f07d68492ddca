"""A page that is told no in passing, is opened a second time, or loaded again: nothing that was there is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.browser import Served, Visitor, browser, serving, visiting
from tests.e2e.page_server import CONFIG


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for all tests of this file."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose model writes what a script says; conversations of other tests are there, too."""
    with serving(Served(tmp_path_factory.mktemp("scripted"), "scripted", CONFIG)) as served:
        yield served


@pytest.fixture
def visitor(chromium: Browser, scripted: Served) -> Iterator[Visitor]:
    """Somebody at a desk."""
    with visiting(chromium, scripted) as somebody:
        somebody.open()
        yield somebody


def second(visitor: Visitor) -> Visitor:
    """The same person at another page of the same browser."""
    other = Visitor(visitor.page.context.new_page(), visitor.origin, phone=False)
    other.watch()
    return other


def rename(visitor: Visitor, name: str) -> None:
    visitor.menu(visitor.page.locator("#conversation-menu"), "Rename")
    visitor.page.get_by_role("textbox", name="Name of the conversation").fill(name)
    visitor.page.keyboard.press("Enter")


def refusing(page: Page, status: int) -> None:
    """Whatever is asked about a conversation is refused."""

    def refuse(route: Route) -> None:
        if route.request.method == "GET":
            route.fulfill(status=status, json={"error": f"No, {status}."})
        else:
            route.continue_()

    page.route("**/api/conversations/*", refuse)


@pytest.mark.parametrize("status", [500, 429, 403, 404])
def test_a_refusal_in_passing_does_not_take_the_conversation_away(visitor: Visitor, status: int) -> None:
    """Its words are shown, what was there stays there, and the next fetch brings the rest; after a 404 too."""
    visitor.expected = f"status of {status}"
    visitor.ask("Stay with me.")
    refusing(visitor.page, status)
    rename(visitor, "Still here")
    if status == 404:
        expect(visitor.page.locator("#title")).to_have_text("This conversation is gone")
    else:
        expect(visitor.page.locator("#banner")).to_have_text(f"No, {status}.")
    expect(visitor.questions.locator(".bubble")).to_have_text(["Stay with me."])
    visitor.page.unroute("**/api/conversations/*")
    visitor.say("And now?")
    expect(visitor.answers).to_have_count(2)
    visitor.settled()
    expect(visitor.page.locator("#title")).to_have_text("Still here")
    expect(visitor.page.locator("#conversation-menu")).to_be_visible()


@pytest.mark.parametrize("status", [502, 520, 530])
def test_a_message_waits_while_a_proxy_does_not_reach_hearth(visitor: Visitor, status: int) -> None:
    """That is no refusal: the words stay, and are sent once the way is free."""
    visitor.expected = f"status of {status}"
    visitor.page.route("**/messages", lambda route: route.fulfill(status=status, body="<h1>Bad luck</h1>"))
    visitor.say("Wait for me.")
    expect(visitor.page.locator("#composer-state")).to_contain_text("No connection")
    visitor.page.unroute("**/messages")
    expect(visitor.questions.locator(".bubble")).to_have_text(["Wait for me."])
    visitor.settled()


def test_a_first_message_on_its_way_makes_one_conversation_on_two_pages(visitor: Visitor) -> None:
    """The second page finds it where the first one kept it, and sends it as well: both end where it is."""
    held: list[Route] = []
    visitor.page.context.route("**/api/conversations", lambda r: r.continue_() if _looks(r) else held.append(r))
    visitor.say("The very first.")
    other = second(visitor)
    with other.page.expect_request(lambda asked: asked.method == "POST"):
        other.open()
    assert len(held) == 2
    for route in held:
        route.continue_()
    for one in (visitor, other):
        expect(one.questions.locator(".bubble")).to_have_text(["The very first."])
        expect(one.answers).to_have_count(1)
        one.settled()
        expect(one.field).to_have_value("")
    assert visitor.page.url == other.page.url
    assert other.problems == []


def _looks(route: Route) -> bool:
    return route.request.method == "GET"


def test_a_page_that_sends_does_not_lose_what_waits_on_another(visitor: Visitor) -> None:
    """Each keeps its own in the place that they share."""
    visitor.expected = "net::ERR_FAILED"
    visitor.ask("Here.")
    other = second(visitor)
    other.open()
    other.ask("There.")
    visitor.page.route("**/messages", lambda route: route.abort())
    visitor.say("I wait.")
    expect(visitor.page.locator("#composer-state")).to_contain_text("No connection")
    other.ask("I do not.")
    visitor.page.unroute("**/messages")
    with visitor.page.expect_request(lambda asked: asked.url.endswith("/messages")):
        visitor.page.reload()
    expect(visitor.questions.locator(".bubble")).to_have_text(["Here.", "I wait."])


def test_what_a_command_said_is_there_after_a_reload_and_on_another_page(visitor: Visitor) -> None:
    """It is in no line, but the server keeps it for a while: the answer stands there, once."""
    visitor.ask("Hello.")
    other = second(visitor)
    other.open(visitor.page.url.removeprefix(visitor.origin))
    expect(other.answers).to_have_count(1)
    assert "kept for 30 days" in visitor.ask("/privacy")
    expect(other.last).to_contain_text("kept for 30 days")
    visitor.page.reload()
    visitor.ready()
    expect(visitor.answers).to_have_count(2)
    expect(visitor.last).to_contain_text("kept for 30 days")
    expect(visitor.questions.locator(".bubble")).to_have_text(["Hello."])
    visitor.ask("And what comes after it.")
    expect(visitor.answers).to_have_count(3)
    expect(visitor.answers.nth(1)).to_contain_text("kept for 30 days")
    expect(other.answers).to_have_count(3)


def test_words_about_a_failure_of_another_branch_do_not_come_along(visitor: Visitor) -> None:
    """After a reload its question is not known any more, and they are about that."""
    visitor.ask("Zebras?")
    visitor.say("Please break.")
    expect(visitor.last).to_contain_text("The model failed.")
    visitor.tool(visitor.questions.last, "Edit the question")
    visitor.page.get_by_role("textbox", name="Edit the question").fill("Giraffes?")
    visitor.page.keyboard.press("Enter")
    expect(visitor.last).to_contain_text("You said: Giraffes?")
    visitor.settled()
    visitor.page.reload()
    visitor.ready()
    expect(visitor.questions.locator(".bubble")).to_have_text(["Zebras?", "Giraffes?"])
    expect(visitor.answers).to_have_count(2)


def test_conversations_are_found_by_their_names(visitor: Visitor) -> None:
    """In any case and order of the words, before the messages, as links."""
    visitor.ask("Tell me of the sea.")
    rename(visitor, "SHIPS and their Sails")
    expect(visitor.page.locator("#title")).to_have_text("SHIPS and their Sails")
    visitor.fresh()
    visitor.ask("Which sails have those ships?")
    rename(visitor, "Another one")
    visitor.fresh()
    visitor.page.get_by_role("searchbox").fill("sails ships")
    found = visitor.page.get_by_role("region", name="Search results").get_by_role("link")
    expect(found).to_have_count(3)
    expect(found.first).to_contain_text("SHIPS and their Sails")
    expect(found.first.locator("mark")).to_have_text(["SHIPS", "Sails"])
    expect(visitor.page.locator("#announce")).to_have_text("1 conversation and 2 messages found.")
    found.first.click()
    expect(visitor.questions.locator(".bubble")).to_have_text(["Tell me of the sea."])


def test_an_address_that_is_none_leads_to_nothing_that_there_is(visitor: Visitor) -> None:
    """And a message that is no number is no place to go to."""
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.ask("Here I am.")
    path = visitor.page.url.removeprefix(visitor.origin)
    visitor.page.goto("about:blank")
    visitor.open(f"{path}/abc")
    expect(visitor.questions.locator(".bubble")).to_have_text(["Here I am."])
    visitor.ask("And here.")
    assert not [url for url in asked if url.endswith("/choose")]
    visitor.expected = "status of 404"
    visitor.page.goto("about:blank")
    visitor.open("/#/c/%zz")
    expect(visitor.page.locator("#title")).to_have_text("This conversation is gone")
    expect(visitor.page.locator("#empty")).to_contain_text("It was deleted")
