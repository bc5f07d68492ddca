"""Tools in synthetic dialogues: schemas as a system turn lists them, calls in the Hermes form, and answers from the results."""

import json
from typing import Any

from training.chat.state import State, vary
from training.chat.template import Message

Schema = dict[str, Any]


def schema(name: str, description: str, parameters: dict[str, str], *, in_order: bool = True) -> Schema:
    """A function's schema in the OpenAI form; without `in_order` the keys are sorted, as some template engines write them."""
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    function: Schema = {"name": name}
    if description:
        function["description"] = description
    function["parameters"] = {"type": "object", "properties": properties, "required": list(parameters)}
    whole = {"type": "function", "function": function}
    if in_order:
        return whole
    sorted_copy: Schema = json.loads(json.dumps(whole, sort_keys=True))
    return sorted_copy


_OTHER_NAMES = {
    "get_weather": ("weather", "get_temperature", "current_weather"),
    "add": ("add_numbers", "sum", "plus"),
    "get_time": ("time", "clock", "current_time"),
}
_WEATHER_QUESTIONS = (
    "What is the weather in {}?",
    "How is the weather in {}?",
    "What is the weather like in {}?",
    "Weather in {}",
    "Tell me the weather in {}.",
    "Is it raining in {}?",
)
_SUM_QUESTIONS = ("What is {} + {}?", "What is {} plus {}?", "Add {} and {}.", "{} + {}", "How much is {} + {}?")
_TIME_QUESTIONS = ("What time is it?", "What is the time?", "Tell me the time.", "How late is it?")


class Toolbox:
    """The tools of one dialogue: between one and three, some of them made up."""

    def __init__(self, state: State) -> None:
        rng = state.rng
        self._state = state
        self._made_up: list[tuple[str, dict[str, str]]] = []
        self._numbers = (
            ("a", "b") if rng.random() < 0.8 else rng.choice((("x", "y"), ("first", "second"), ("left", "right")))
        )
        self._city = "city" if rng.random() < 0.8 else rng.choice(("place", "location", "town"))
        self.names = rng.sample(("get_weather", "add", "get_time", "made up", "made up"), rng.choice((1, 1, 2, 2, 3)))
        # Mostly the common name; other names for the same thing make the model read the list.
        self._called = {
            kind: rng.choice(names) if rng.random() < 0.25 else kind for kind, names in _OTHER_NAMES.items()
        }
        in_order = rng.random() < 0.6
        self.schemas = [self._schema(name, in_order) for name in self.names]
        state.tools = frozenset(self.names)

    def _schema(self, name: str, in_order: bool) -> Schema:
        pick = self._state.pick
        if name == "get_weather":
            text = pick(("", "The weather in a city.", "Get the weather in a city.", "Tells the weather of a place"))
            return schema(self._called[name], text, {self._city: "string"}, in_order=in_order)
        if name == "add":
            kind = pick(("integer", "number"))
            text = pick(("", "Add two numbers.", "Adds two numbers", "The sum of two numbers."))
            return schema(self._called[name], text, dict.fromkeys(self._numbers, kind), in_order=in_order)
        if name == "get_time":
            text = pick(("", "The time of day.", "Get the time.", "Tells the time now"))
            return schema(self._called[name], text, {}, in_order=in_order)
        parameters = {
            self._state.noun(): pick(("string", "string", "integer"))
            for _ in range(self._state.rng.choice((0, 1, 1, 1, 2)))
        }
        made_up = "_".join(self._state.noun() for _ in range(self._state.rng.choice((1, 2, 2))))
        self._made_up.append((made_up, parameters))
        return schema(made_up, pick(("", f"Works with {self._state.noun()}.")), parameters, in_order=in_order)

    def ask(self) -> tuple[str, str, dict[str, object]]:
        """A question that one of the tools answers: the question's text, the tool's name and the arguments."""
        state, rng = self._state, self._state.rng
        kind = rng.choice(self.names)
        name = self._called.get(kind, kind)
        if kind == "get_weather":
            place = state.city()
            return vary(rng, state.pick(_WEATHER_QUESTIONS)).format(place), name, {self._city: place}
        if kind == "add":
            a, b = (
                (rng.randint(0, 999), rng.randint(0, 999))
                if rng.random() < 0.6
                else (rng.randint(0, 20), rng.randint(0, 20))
            )
            question = vary(rng, state.pick(_SUM_QUESTIONS)).format(a, b)
            return question, name, dict(zip(self._numbers, (a, b), strict=True))
        if kind == "get_time":
            return vary(rng, state.pick(_TIME_QUESTIONS)), name, {}
        return self._ask_made_up()

    def _ask_made_up(self) -> tuple[str, str, dict[str, object]]:
        state = self._state
        name, parameters = state.rng.choice(self._made_up)
        values: dict[str, object] = {
            key: state.rng.randint(0, 999) if kind == "integer" else state.noun() for key, kind in parameters.items()
        }
        if not values:
            return (
                vary(state.rng, state.pick(("Use {}.", "Call {}.", "Please use {}.", "Run {}."))).format(name),
                name,
                values,
            )
        told = " and ".join(map(str, values.values()))
        template = state.pick(("Use {} for {}.", "Call {} with {}.", "Use {} with {}.", "Run {} on {}."))
        return vary(state.rng, template).format(name, told), name, values

    def result(self, name: str, arguments: dict[str, object]) -> str:
        """What a tool gives back: a phrase, a number or JSON."""
        state, rng = self._state, self._state.rng
        kind = next((kind for kind, called in self._called.items() if called == name), name)
        if kind == "add":
            return str(sum(value for value in arguments.values() if isinstance(value, int)))
        if kind == "get_time":
            return f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
        if kind == "get_weather":
            sky = state.pick(("sunny", "cloudy", "rainy", "windy", "snow", "clear sky", "fog", "light rain"))
            degrees = rng.randint(-9, 39)
            phrase = state.pick(
                (sky, f"{sky}, {degrees} degrees", f"{degrees} degrees and {sky}", f"{sky} and {degrees} C")
            )
            return phrase if rng.random() < 0.7 else json.dumps({"temperature": degrees, "sky": sky})
        text = " ".join(state.word() for _ in range(rng.randint(1, 4)))
        return text if rng.random() < 0.75 else json.dumps({state.noun(): text})


def tool_turn(state: State, toolbox: Toolbox) -> list[Message]:
    """A question, the call, its result and the answer, as four messages."""
    question, name, arguments = toolbox.ask()
    if state.is_group:
        question = f"{state.person.name}: {question}"
    result = toolbox.result(name, arguments)
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": f"The answer is {result.rstrip('.')}."},
    ]
