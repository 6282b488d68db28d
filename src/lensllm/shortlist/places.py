"""How the places of a shortlist are shared out: a mix, as no single number chooses well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def share_out(count: int, orders: Mapping[str, Sequence[str]], families: Mapping[str, str]) -> dict[str, list[str]]:
    """Who gets a place, and why, in the order in which places were given.

    Half of the places, one more where they are odd, go to those that come first in the first order. The others are
    given in turns: the first of a family that has no place yet, then the next of each other order. One that has a
    place already gets one more reason and the turn passes on, so that no place is lost; once every family has one, the
    other orders alone take turns.

    Why half and half: the loss of a model as it came chooses weakly on real models (RelAcc 80 on the published pools,
    docs/find.md), so it does not fill all places; it says something and is measured, so it has the most.

    Args:
        count: of the places.
        orders: name of an order -> all models, the first first; the first order is the one that half goes by.
        families: model -> what those of one kind share.

    Returns:
        Model -> its reasons, the first of them the one that gave the place.

    >>> orders = {"by loss": ["a", "b", "c", "d"], "smallest": ["d", "b", "c", "a"]}
    >>> share_out(3, orders, {"a": "llama", "b": "llama", "c": "llama", "d": "t5"})
    {'a': ['1st by loss'], 'b': ['2nd by loss'], 'd': ['best of its family: t5']}
    >>> share_out(4, orders, dict.fromkeys("abcd", "llama"))
    {'a': ['1st by loss'], 'b': ['2nd by loss', '2nd smallest'], 'd': ['1st smallest'], 'c': ['3rd smallest']}
    """
    (name, first), *others = orders.items()
    count = min(count, len(first))
    places = {one: [f"{_ordinal(i)} {name}"] for i, one in enumerate(first[: -(-count // 2)], 1)}
    turns = [_of_new_families(first, families, places), *(_ranked(*other) for other in others)]
    while len(places) < count:
        for turn in turns:
            one, why = next(turn, ("", ""))
            if one and len(places) < count:
                places.setdefault(one, []).append(why)
    return places


def _of_new_families(
    first: Sequence[str], families: Mapping[str, str], places: Mapping[str, list[str]]
) -> Iterator[tuple[str, str]]:
    for one in first:
        if families[one] not in {families[other] for other in places}:
            yield one, f"best of its family: {families[one]}"


def _ranked(name: str, order: Sequence[str]) -> Iterator[tuple[str, str]]:
    for i, one in enumerate(order, 1):
        yield one, f"{_ordinal(i)} {name}"


def _ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"
