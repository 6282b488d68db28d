"""Every score against the library or the definition that it follows."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF
from sklearn.metrics import f1_score

from lensllm.errors import InputError
from lensllm.scores import SCORES, Answer, score_named
from lensllm.scores.asked import Asked, asked_of, labels_of
from lensllm.scores.base import mean_of
from lensllm.scores.json_fields import same
from lensllm.tasks import Example
from lensllm.tasks.conversation import Conversation, Turn

TEXTS = st.text(st.sampled_from("abc THE.\n{}[]\"':,01"), max_size=20)


def value(name, completion, reference):
    return score_named(name).values([Answer("p", completion, reference)])[0]


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)
@settings(deadline=None)
@given(completion=TEXTS, reference=TEXTS)
def test_every_score_is_between_0_and_1_and_the_same_twice(score, completion, reference):
    answers = [Answer("p", completion, reference)] * 2
    found = score.values(answers)
    assert found[0] == found[1]
    assert 0.0 <= found[0] <= 1.0


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)
def test_the_reference_itself_is_all_right(score):
    assert score.values([Answer("p", '{"a": 1}', '{"a": 1}')]) == [pytest.approx(1.0)]
    assert (score.floor, score.ceiling) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "completion", "reference", "expected"),
    [
        ("exact_match", " Paris\n", "Paris", 1.0),
        ("exact_match", "paris", "Paris", 0.0),
        ("f1", "The Beatles!", "beatles", 1.0),
        ("f1", "in the year 1969 or 1970", "1969", 2 / 6),
        ("f1", "", "an", 1.0),
        ("f1", "a b b", "b b b", 0.8),  # b twice of 2 and 3 words, the article a is none
        ("rouge_l", "the cat is on the mat", "the mat is on the cat", 4 / 6),
        ("rouge_l", "", "the", 0.0),
        ("json_valid", '{"a": [1, 2]}', "", 1.0),
        ("json_valid", "```json\n{}\n```", "", 0.0),
        ("json_valid", "Infinity", "", 0.0),
        ("json_valid", "[" * 100_000, "", 0.0),
        ("json_fields", '{"b": 2, "a": 1.0}', '{"a": 1, "b": 2}', 1.0),
        ("json_fields", '{"a": true}', '{"a": 1}', 0.0),
        ("json_fields", '{"a": 1, "made up": 2, "b": 3}', '{"a": 1, "b": 4}', 1 / 3),
        ("json_fields", "[1]", '{"a": 1}', 0.0),
        ("json_fields", "{}", "{}", 1.0),
    ],
)
def test_values_by_hand(name, completion, reference, expected):
    assert value(name, completion, reference) == pytest.approx(expected)


def test_chrf_is_sacrebleus():
    pairs = [("the cat sat", "a cat sat down"), ("größer", "großes"), ("", "x")]
    own = score_named("chrf").values([Answer("", *pair) for pair in pairs])
    assert own == [pytest.approx(CHRF().sentence_score(a, [b]).score / 100) for a, b in pairs]


def test_macro_f1_is_scikit_learns():
    rng = random.Random(0)
    labels = ["no", "yes", "perhaps", "never"]
    for n in (1, 2, 30, 200):
        right, chosen = ([rng.choice(labels[:3]) for _ in range(n)] for _ in range(2))
        answers = [Answer("p", f" {a}", b) for a, b in zip(chosen, right, strict=True)]
        found = score_named("f1").of(answers, labels)
        assert found.value == pytest.approx(f1_score(right, chosen, average="macro"))
    assert found == score_named("f1").of(answers, labels)
    assert 0.02 < found.standard_error < 0.05


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1))
def test_the_error_of_a_share_is_never_0(values):
    found = mean_of(values)
    assert found.value == pytest.approx(np.mean(values))
    assert 0 < found.standard_error <= 0.5 / np.sqrt(len(values) + 4) + 1e-12


def test_the_error_of_a_mean_is_the_standard_error():
    values = [0.1, 0.5, 0.25, 1.0]
    assert mean_of(values).standard_error == pytest.approx(np.std(values, ddof=1) / 2)
    assert np.isnan(mean_of([0.5]).standard_error)


def test_json_values_are_compared_whole():
    assert same({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]})
    assert not same([1, 2], [2, 1])
    assert not same(0, False)
    assert not same("1", 1)


def chat(*said, learned=None):
    turns = [Turn(role, text, learned is None and role == "assistant") for role, text in said]
    return Example.of(Conversation(tuple(turns)))


def test_a_conversation_is_asked_for_its_last_answer():
    said = chat(("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?"), ("assistant", "4"))
    asked = asked_of(said)
    assert (asked.prompt, asked.reference) == ("system: Be brief.\nuser: 1+1?\nassistant: 2\nuser: 2+2?", "4")
    assert asked.example.conversation.learned == [4]
    assert asked.answered("5").conversation.turns[-1] == Turn("assistant", "5", learned=True)


def test_what_has_no_prompt_or_no_reference_asks_nothing():
    assert asked_of(Example("", "Plain text.")) is None
    assert asked_of(Example("1+1?", "  ")) is None
    assert asked_of(chat(("assistant", "Hello!"))) is None
    assert asked_of(chat(("user", "1+1?"))) is None
    assert asked_of(chat(("user", "1+1?"), ("assistant", ""))) is None


def test_labels_are_few_and_stand_there_often():
    rows = [Example("a", " yes"), Example("b", " no")]
    assert labels_of(rows * 3) == (" no", " yes")
    assert labels_of(rows * 2) == ()
    assert labels_of([*rows * 3, Example("c", " once")]) == ()
    assert labels_of(rows[:1] * 9) == ()
    assert labels_of([*rows * 3, Example("", "text")]) == ()
    assert labels_of([Example(str(i), str(i % 51)) for i in range(306)]) == ()
    assert labels_of(
        [chat(("user", "good"), ("assistant", "yes")), chat(("user", "bad"), ("assistant", "no"))] * 3
    ) == (
        "no",
        "yes",
    )


@pytest.mark.parametrize(
    ("name", "references", "told"),
    [
        ("accuracy", ["a", "b"], "needs a task with labels"),
        ("json_fields", ['{"a": 1}', "[1]", "no"], r"'\[1\]' is none \(2 of 3 references\)"),
        ("rouge_l", ["лампа", "стол"], "2 of 2 references have none of them: take chrf"),
    ],
)
def test_what_a_task_lacks_is_said(name, references, told):
    asked = [Asked("p", text, Example("p", text)) for text in references]
    assert re.search(told, score_named(name).lacks(asked, ()))


def test_names_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="no score is named 'bleu': there are exact_match, accuracy"):
        score_named("bleu")
    with pytest.raises(InputError, match=r"no such file: nowhere\.py"):
        score_named("nowhere.py:f")
