"""Which models are of one kind: an architecture, and who made what they were made from."""

from __future__ import annotations

from collections.abc import Sequence

from lensllm.shortlist.listed import Listed


def families(models: Sequence[Listed]) -> dict[str, str]:
    """Model -> its family: architecture and organisation of the first model that it goes back to.

    A fine-tuned copy goes back to the model that its page names as its base, that one to its own as far as they are
    listed. So twenty fine-tuned copies of one model by twenty people are one family.

    >>> copy = Listed("me/b", tags=("base_model:meta/a",), model_type="llama")
    >>> families([Listed("meta/a", model_type="llama"), copy])
    {'meta/a': 'llama of meta', 'me/b': 'llama of meta'}
    """
    known = {one.name: one for one in models}
    return {one.name: f"{one.model_type or 'unknown'} of {_root(one, known).partition('/')[0]}" for one in models}


def _root(one: Listed, known: dict[str, Listed]) -> str:
    seen = {one.name}
    while bases := one.made_from():
        if bases[0] in seen or bases[0] not in known:
            return bases[0]
        one = known[bases[0]]
        seen.add(one.name)
    return one.name
