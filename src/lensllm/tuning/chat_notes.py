"""What is to be said of how a candidate reads conversations."""

from __future__ import annotations

from lensllm.errors import InputError
from lensllm.tasks import Task
from lensllm.tasks.chats.template import TODAY
from lensllm.tasks.conversation import Conversation
from lensllm.tasks.encoded import Reader
from lensllm.text import counted

LOOKED_AT = 300
"""Examples of the training part that are looked at."""


def chat_notes(task: Task, reader: Reader) -> list[str]:
    """Notes on one candidate: which template it reads with, and what that changes or leaves out.

    Args:
        task: without the conversations that the template refuses.
        reader: of the candidate.
    """
    examples = task.train[:LOOKED_AT]
    conversations = [said for example in examples if (said := reader.conversation(example)) is not None]
    if not conversations:
        return []
    try:
        return _notes(conversations, len(examples), any(e.conversation is None for e in examples), reader)
    except InputError:
        return []


def _notes(conversations: list[Conversation], looked_at: int, pairs: bool, reader: Reader) -> list[str]:
    name, template = reader.model_name, reader.template
    notes = []
    if not template.own:
        notes.append(
            f"{name} has no chat template: conversations are written as lines of User:, Assistant: and the text "
            "(docs/chats.md)"
        )
    elif pairs:
        notes.append(
            f"{name} reads prompt and completion as a conversation in its chat template (--chat off: as plain text)"
        )
    if any(template.puts_system_in_user(one) for one in conversations):
        notes.append(f"the chat template of {name} knows no system turn: its words begin the first user turn")
    if template.dated(conversations[0]):
        notes.append(f"the chat template of {name} tells the date: {TODAY:%d %B %Y} stands for it in every run")
    if not template.ends_turns(conversations[0]):
        notes.append(
            f"the chat template of {name} ends a turn in no token that ends what the model writes: trained like this "
            "it would not stop"
        )
    dropped = sum(one.n_bytes - sum(s.n_bytes for s in template.render(one).spans) for one in conversations)
    if dropped > 0:
        notes.append(
            f"the chat template of {name} leaves out {dropped:,} of the bytes of the learned turns looked at "
            f"({counted(looked_at, 'example')}), reasoning of earlier turns say: they are neither learned nor counted"
        )
    said = sum(bool(template.control_tokens_in(turn.content)) for one in conversations for turn in one.turns)
    if said:
        notes.append(
            f"{counted(said, 'turn')} of those looked at hold what {name} uses as control tokens: they are read as text"
        )
    return notes
