"""A conversation: its turns, the tools that may be called in it, and which turns are learned."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

Learn = Literal["assistant", "last", "all"]
"""What is learned of a conversation: what the assistant says, its last turn alone, or every turn."""

Chat = Literal["auto", "on", "off"]
"""Whether a prompt and its completion are written as a conversation: where the model has a template, always, never."""


@dataclass(frozen=True)
class Turn:
    """What one side says.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: the text.
        learned: whether the model learns to write it.
        extra: JSON object of the other fields that templates read: `tool_calls`, `reasoning_content`, `name`,
            `tool_call_id`; empty if there are none.
    """

    role: str
    content: str
    learned: bool = False
    extra: str = ""

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of `extra`."""
        return json.loads(self.extra) if self.extra else {}

    @property
    def message(self) -> dict[str, Any]:
        """The turn as chat templates read it."""
        return {"role": self.role, "content": self.content, **self.fields}

    @property
    def full_text(self) -> str:
        """All that was said: reasoning, content without blanks around it, and calls as JSON, a line each."""
        calls = [
            json.dumps(call.get("function", call), ensure_ascii=False) for call in self.fields.get("tool_calls", [])
        ]
        parts = [str(self.fields.get("reasoning_content", "")).strip(), self.content.strip(), *calls]
        return "\n".join(part for part in parts if part)

    @property
    def content_only(self) -> bool:
        """Whether the content is all there is."""
        return not {"tool_calls", "reasoning_content"} & self.fields.keys()


@dataclass(frozen=True)
class Conversation:
    """Turns in their order.

    Attributes:
        turns: at least one of them is learned.
        tools: JSON list of the tools that may be called, as chat templates read them; empty if there are none.
    """

    turns: tuple[Turn, ...]
    tools: str = ""

    @classmethod
    def of_pair(cls, prompt: str, completion: str) -> Conversation:
        """A user's turn and the assistant's, without the blanks that join them in plain text."""
        return cls((Turn("user", prompt.strip()), Turn("assistant", completion.strip(), learned=True)))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns as chat templates read them."""
        return [turn.message for turn in self.turns]

    @property
    def learned(self) -> list[int]:
        """Places of the learned turns."""
        return [i for i, turn in enumerate(self.turns) if turn.learned]

    @property
    def n_bytes(self) -> int:
        """Bytes of the learned turns in UTF-8: of `Turn.full_text`."""
        return sum(len(self.turns[i].full_text.encode()) for i in self.learned)

    @property
    def prompt(self) -> str:
        """The turns before the first learned one, a line each."""
        return _lines(self.turns[: min(self.learned, default=len(self.turns))])

    @property
    def completion(self) -> str:
        """The first learned turn and those after it, a line each."""
        return _lines(self.turns[min(self.learned, default=len(self.turns)) :])

    def learning(self, what: Learn) -> Conversation | None:
        """With these turns learned, up to the last of them; None if there are none."""
        if what == "all":
            turns = tuple(replace(turn, learned=bool(turn.full_text)) for turn in self.turns)
        else:
            kept = set(self.learned[-1:] if what == "last" else self.learned)
            turns = tuple(
                replace(turn, learned=i in kept) for i, turn in enumerate(self.turns[: max(kept, default=-1) + 1])
            )
        return replace(self, turns=turns) if any(turn.learned for turn in turns) else None

    def without_oldest(self) -> Conversation | None:
        """Without the oldest exchange: all from the first turn behind the system's up to the next user turn.

        None if nothing learned would be left, or there is no other user turn.
        """
        first = next((i for i, turn in enumerate(self.turns) if turn.role != "system"), len(self.turns))
        second = next((i for i in range(first + 1, len(self.turns)) if self.turns[i].role == "user"), None)
        if second is None:
            return None
        left = replace(self, turns=self.turns[:first] + self.turns[second:])
        return left if left.learned else None

    def to_list(self) -> list[Any]:
        """Everything that tells conversations apart, in types that JSON knows."""
        return [[[turn.role, turn.content, turn.learned, turn.extra] for turn in self.turns], self.tools]


def _lines(turns: tuple[Turn, ...]) -> str:
    return "\n".join(f"{turn.role}: {turn.full_text}" for turn in turns)
