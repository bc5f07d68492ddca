"""Chat templates are rendered as transformers renders them, in a sandbox, within bounds."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from bot.errors import ModelError
from bot.generation import ChatTemplate
from bot.prompt.template import TemplateRefused, TemplateRenderer

DAY = date(2026, 3, 14)


def render(source: str, *contents: str, tools: list[Any] | None = None) -> str:
    messages = [{"role": "user", "content": content} for content in contents]
    template = ChatTemplate(source=source, bos_token="<s>", eos_token="</s>")
    return TemplateRenderer(template).render(messages, tools, DAY, generate=True)


def test_blocks_leave_no_blank_lines() -> None:
    assert (
        render("{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}", "a", "b")
        == "a\nb\n"
    )


def test_loop_controls_and_generation_blocks_are_known() -> None:
    source = "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert render(source, "a", "b") == "a"


def test_the_date_is_the_day_that_was_given() -> None:
    assert render("{{ strftime_now('%d %b %Y %H:%M') }}") == "14 Mar 2026 00:00"


def test_bos_and_eos_and_the_request_to_generate_are_known() -> None:
    assert render("{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}") == "<s></s>True"


def test_json_leaves_markup_and_other_scripts_as_they_are() -> None:
    assert render("{{ tools | tojson }}", tools=[{"a": "<b> & 'ü'"}]) == """[{"a": "<b> & 'ü'"}]"""
    assert render("{{ tools | tojson(indent=1) }}", tools=[1]) == "[\n 1\n]"
    assert render("{{ tools | tojson(ensure_ascii=True) }}", tools=["ü😀\ufdd0"]) == '["\\u00fc\\ud83d\\ude00\ufdd0"]'


def test_a_template_can_refuse() -> None:
    with pytest.raises(TemplateRefused, match="only users"):
        render("{{ raise_exception('only users') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{{ 'x' * 100000000 }}",
        "{{ 2 ** 100000 }}",
        "{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{{ messages[7].content.x }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception }}{{ range(10**9) }}",
    ],
)
def test_a_hostile_or_broken_template_is_refused(source: str) -> None:
    with pytest.raises(TemplateRefused):
        render(source, "a")


def test_a_template_that_is_no_jinja_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="chat template"):
        render("{% if %}")


def test_the_words_of_a_template_are_known() -> None:
    renderer = TemplateRenderer(ChatTemplate(source="{% if m.role == 'tool' %}{{ m['content'] }}{% endif %}plain"))
    assert {"tool", "role", "content"} <= renderer.words
    assert "plain" not in renderer.words
