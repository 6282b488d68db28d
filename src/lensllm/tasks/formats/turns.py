"""Turns as the field writes them, `role`/`content` or `from`/`value`, made alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lensllm.errors import InputError
from lensllm.tasks.conversation import Conversation, Turn
from lensllm.tasks.rows import Cells, checked_text, is_missing
from lensllm.tasks.task import Example
from lensllm.text import listed, shortened, visible

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "ipython"), "tool"),
}
"""What the field's layouts call a side, in small letters -> what we call it."""

KEPT = ("tool_calls", "reasoning_content", "name", "tool_call_id")
REASONING = ("reasoning_content", "reasoning", "thinking")
NOT_READ = frozenset({"id", "message_id", "timestamp", "date", "refusal", "annotations", "audio", "index", "tree_id"})
READ = frozenset({"role", "from", "content", "value", "weight", "train", "function_call", *KEPT, *REASONING})
TEXT_PARTS = ("text", "input_text", "output_text")


def chat(cells: Cells, turns: Sequence[Turn]) -> Example | None:
    """The example of these turns, with the system's words and the tools that stand in columns beside them.

    Returns:
        None if there are no turns or none is learned.

    Raises:
        InputError: if the assistant says nothing, or calls a tool where no tools are given.
    """
    if not turns:
        return None
    made = with_system(cells, turns)
    if not any(turn.role == "assistant" for turn in made):
        raise InputError(f"{cells.place}: there is no assistant turn, so there is nothing to learn: leave the row out")
    tools = tools_of(cells)
    calls = [i for i, turn in enumerate(made, start=1) if turn.fields.get("tool_calls")]
    if calls and not tools:
        raise InputError(
            f"{cells.place}: turn {calls[0]} calls a tool, and the row has no tools: describe them in a column 'tools'"
        )
    return Example.of(Conversation(made, tools)) if any(turn.learned for turn in made) else None


def pair(cells: Cells, prompt: str, completion: str) -> Example | None:
    """A prompt and a completion, with the system's words where the row has a column of them."""
    if not completion:
        return None
    if cells.text("system") or tools_of(cells):
        return chat(cells, Conversation.of_pair(prompt, completion).turns)
    return Example(prompt, completion)


def with_system(cells: Cells, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns behind the system's words, if the row has a column of them.

    Raises:
        InputError: if the turns begin with other words of the system.
    """
    said = cells.text("system")
    if not said:
        return tuple(turns)
    if turns[0].role != "system":
        return (Turn("system", said), *turns)
    if turns[0].content.strip() != said.strip():
        raise InputError(f"{cells.place}: 'system' and the first turn say different things as the system")
    return tuple(turns)


def turns_of(cells: Cells, column: str, *, learn: bool = True) -> tuple[Turn, ...]:
    """The turns in a column: a list of objects, or JSON of one.

    Raises:
        InputError: naming the row and the turn.
    """
    value = _json(cells, column)
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise InputError(f"{cells.place}: {column!r} must be a list of turns, got {type(value).__name__}")
    turns = [_turn(one, f"{cells.place}: turn {i} of {column!r}", learn) for i, one in enumerate(value, start=1)]
    return tuple(turns)


def is_turns(value: object) -> bool:
    """Whether a value is a list of turns, or JSON of one."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, Mapping) and ("role" in first or "from" in first)


def tools_of(cells: Cells) -> str:
    """The tools of a row as JSON, empty if it has none.

    Raises:
        InputError: if they are no list of objects.
    """
    for column in ("tools", "functions"):
        value = _json(cells, column)
        if value in (None, [], {}):
            continue
        if not isinstance(value, list) or not all(isinstance(tool, Mapping) for tool in value):
            raise InputError(f"{cells.place}: {column!r} must be a list of tools, each an object")
        return json.dumps([_without_none(tool) for tool in value], ensure_ascii=False)
    return ""


def _json(cells: Cells, column: str) -> Any:
    value = cells.row.values.get(column)
    if is_missing(value) or value in ([], {}):
        return None
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        shown = shortened(visible(value), 40)
        raise InputError(f"{cells.place}: {column!r} must be a list or JSON of one, got {shown!r}") from error


def _turn(one: Any, place: str, learn: bool) -> Turn:
    if not isinstance(one, Mapping):
        raise InputError(f"{place} must be an object with role and content, got {type(one).__name__}")
    if unknown := [key for key, value in one.items() if key not in READ | NOT_READ and not is_missing(value)]:
        raise InputError(f"{place} has {listed([repr(key) for key in unknown])}, which is not read: take it out")
    named = one.get("role", one.get("from"))
    if is_missing(named) or not isinstance(named, str):
        raise InputError(f"{place} has no role: expected role and content, or from and value")
    role = ROLES.get(named.strip().casefold())
    if role is None:
        shown = shortened(visible(named), 30)
        raise InputError(f"{place} has the role {shown!r}: expected system, user (human), assistant (gpt) or tool")
    content = _content(one.get("content", one.get("value")), place)
    calls = _calls(one, place)
    if named.strip().casefold() == "function_call":
        calls, content = [_call(_parsed(content), place)], ""
    reasoning = next((str(one[key]) for key in REASONING if not is_missing(one.get(key))), "")
    kept = {key: one[key] for key in ("name", "tool_call_id") if not is_missing(one.get(key))}
    fields = kept | ({"reasoning_content": reasoning} if reasoning else {}) | ({"tool_calls": calls} if calls else {})
    extra = json.dumps(fields, ensure_ascii=False, sort_keys=True) if fields else ""
    turn = Turn(role, content, extra=extra)
    learned = role == "assistant" and _weight(one, place, learn) and bool(turn.full_text)
    return Turn(role, content, learned, extra)


def _content(value: Any, place: str) -> str:
    """The text of a turn; parts of text are joined."""
    if is_missing(value):
        return ""
    if isinstance(value, list):
        parts = [part if isinstance(part, Mapping) else {"type": "text", "text": part} for part in value]
        other = [str(part.get("type")) for part in parts if part.get("type", "text") not in TEXT_PARTS]
        if other:
            raise InputError(f"{place} holds {shortened(visible(other[0]), 30)}, and only text is read")
        return "".join(_content(part.get("text"), place) for part in parts)
    if isinstance(value, str):
        return checked_text(value, place)
    if isinstance(value, int | float):
        return str(value)
    raise InputError(f"{place} must have text as its content, got {type(value).__name__}")


def _weight(one: Mapping[str, Any], place: str, learn: bool) -> bool:
    """Whether the turn is learned: OpenAI's `weight` of 0 or 1, axolotl's `train`."""
    for key in ("weight", "train"):
        value = one.get(key)
        if is_missing(value):
            continue
        if value not in (0, 1):
            raise InputError(f"{place} has the {key} {visible(value)}: expected 0 (not learned) or 1 (learned)")
        return bool(value)
    return learn


def _calls(one: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    calls = one.get("tool_calls")
    calls = _parsed(calls) if isinstance(calls, str) else calls
    if not is_missing(one.get("function_call")):
        calls = [one["function_call"], *(calls or [])]
    if is_missing(calls):
        return []
    if not isinstance(calls, list):
        raise InputError(f"{place}: 'tool_calls' must be a list, got {type(calls).__name__}")
    return [_call(call, place) for call in calls]


def _call(call: Any, place: str) -> dict[str, Any]:
    """A call as transformers' templates read it: with its arguments as an object, which OpenAI writes as JSON."""
    function = call.get("function") or call if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InputError(f"{place} calls a tool without a name: expected name and arguments")
    written = function.get("arguments")
    arguments = _parsed(written) if isinstance(written, str) else _without_none(written)
    made = {"name": function["name"], "arguments": {} if is_missing(arguments) else arguments}
    identity = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {"type": "function", **identity, "function": made}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _without_none(value: Any) -> Any:
    """Without keys that hold nothing: tables write every key of any row into all rows."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
