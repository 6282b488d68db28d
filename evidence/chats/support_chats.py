"""Made-up support conversations, of one to three exchanges: `python -m evidence.chats.support_chats FILE`."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

COUNT, SEED = 300, 0
THINGS = ("kettle", "lamp", "router", "bicycle", "heater", "printer", "tent", "clock", "radio", "blender")
FAULTS = (
    "does not start",
    "arrived broken",
    "makes a noise",
    "has the wrong colour",
    "lost its screws",
    "smells burnt",
)
WISHES = ("my money back", "a new one", "a repair", "a spare part", "an apology")
ANSWERS = {
    "my money back": "I have sent {price} euros back to your card; they arrive within {days} days.",
    "a new one": "A new {thing} leaves our store today and is with you in {days} days.",
    "a repair": "Please send the {thing} to us, postage is free; the repair takes {days} days.",
    "a spare part": "The part for your {thing} is on its way and costs you nothing.",
    "an apology": "We are truly sorry about your {thing}, and {price} euros are credited to you.",
}


def conversation(draw: random.Random) -> list[dict[str, str]]:
    """One conversation: a system turn in half of them, a fault, perhaps a wish and a word of thanks."""
    thing, fault, wish = draw.choice(THINGS), draw.choice(FAULTS), draw.choice(WISHES)
    order, price, days = draw.randint(1000, 9999), draw.randint(5, 90), draw.randint(2, 9)
    answer = ANSWERS[wish].format(thing=thing, price=price, days=days)
    turns = [("system", "You work in the support of a shop. Answer in one sentence.")] * draw.randint(0, 1)
    turns += [
        ("user", f"Hello, my {thing} {fault}. The order is {order}."),
        ("assistant", f"I am sorry that your {thing} {fault}. What would you like for order {order}?"),
    ]
    if draw.random() < 0.8:
        turns += [("user", f"I would like {wish}, please."), ("assistant", answer)]
        if draw.random() < 0.5:
            turns += [("user", "Thank you!"), ("assistant", f"You are welcome, order {order} is closed now.")]
    return [{"role": role, "content": content} for role, content in turns]


def main() -> None:
    """Write the file."""
    draw = random.Random(SEED)
    rows = [json.dumps({"messages": conversation(draw)}) for _ in range(COUNT)]
    Path(sys.argv[1]).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
