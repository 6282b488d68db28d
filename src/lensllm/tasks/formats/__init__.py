"""The column layouts that examples come in, one a file; a new layout is a module here and its name in `LAYOUTS`."""

from __future__ import annotations

from lensllm.tasks.formats import alpaca, messages, preference, prompt_completion, question_answer, text, text_label
from lensllm.tasks.formats.layout import Layout

LAYOUTS: tuple[Layout, ...] = (
    *messages.LAYOUTS,
    preference.LAYOUT,
    prompt_completion.LAYOUT,
    *alpaca.LAYOUTS,
    *question_answer.LAYOUTS,
    text_label.LAYOUT,
    text.LAYOUT,
)
KNOWN_COLUMNS = frozenset(column for layout in LAYOUTS for column in layout.columns)
TITLES = ", ".join(layout.title for layout in LAYOUTS[:-1]) + f" or {LAYOUTS[-1].title}"
