"""Rows of conversations: what is read, and which rows are named as bad."""

from __future__ import annotations

import json
import shutil

import pytest
from commands import refused, run
from folders import edit

from lensllm.errors import InputError
from lensllm.tasks import read_task
from lensllm.tasks.columns import ColumnNames
from lensllm.tasks.examples import Reading, read_examples, read_part

USER, BOT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [USER]}, "there is no assistant turn"),
        (
            {"messages": [USER, {"role": "narrator", "content": "x"}, BOT]},
            "turn 2 of 'messages' has the role 'narrator'",
        ),
        ({"messages": [USER, {"content": "x"}]}, "turn 2 of 'messages' has no role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, BOT]}, "turn 1 .* holds image, and only text"),
        ({"messages": [USER, CALL, BOT]}, "turn 2 calls a tool, and the row has no tools"),
        ({"messages": [USER, CALL | {"tool_calls": [{}]}]}, "turn 2 of 'messages' calls a tool without a name"),
        ({"messages": [USER, BOT | {"weight": 0.5}]}, r"turn 2 of 'messages' has the weight 0\.5"),
        ({"messages": [USER, BOT | {"mood": "glad"}]}, "turn 2 of 'messages' has 'mood', which is not read"),
        ({"messages": "no list"}, "'messages' must be a list or JSON of one"),
        ({"messages": ["Hi"]}, "turn 1 of 'messages' must be an object"),
        ({"messages": [USER, BOT | {"content": "\ud83d"}]}, "turn 2 of 'messages' holds half a character"),
        ({"messages": [{"role": "system", "content": "a"}, USER, BOT], "system": "b"}, "say different things"),
        ({"messages": [USER, BOT], "tools": "f"}, "'tools' must be a list"),
    ],
)
def test_bad_rows_are_named_and_can_be_skipped(tmp_path, row, message):
    path = lines(tmp_path / "a.jsonl", {"messages": [USER, BOT]}, row)
    with pytest.raises(InputError, match=rf"a.jsonl line 2: .*{message}.*--skip-bad-rows 1"):
        read_examples(path)
    part = read_part([path], Reading(skip_bad_rows=1))
    assert len(part.examples) == 1
    assert any("1 row left out that cannot be read" in note for note in part.notes)


def test_more_bad_rows_than_allowed_are_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\nbroken\n{"text": ["a"]}\n{"text": "fine"}\n')
    with pytest.raises(InputError, match=r"line 2 is not valid JSON.*\(2 such rows in all\); --skip-bad-rows 2"):
        read_part([path], Reading(skip_bad_rows=1))
    assert len(read_part([path], Reading(skip_bad_rows=2)).examples) == 2


@pytest.mark.parametrize(
    ("learn", "learned"),
    [("assistant", [False, True, False, True]), ("last", [False] * 3 + [True]), ("all", [True] * 4)],
)
def test_what_is_learned(tmp_path, learn, learned):
    rows = [{"messages": [USER, BOT, USER, BOT]}, {"messages": [USER, BOT | {"weight": 0}, USER, BOT]}]
    part = read_part([lines(tmp_path / "a.jsonl", *rows)], Reading(learn=learn))
    assert [turn.learned for turn in part.examples[0].conversation.turns] == learned
    weighed = [turn.learned for turn in part.examples[1].conversation.turns]
    assert weighed == ([False] * 3 + [True] if learn != "all" else [True] * 4)


def test_rows_without_words_of_the_system_are_conversations_beside_rows_with_them(tmp_path):
    """So a model without a template reads all rows alike."""
    rows = [{"system": "Be kind." * (i % 2), "prompt": f"Hi {i}", "completion": "Hello"} for i in range(60)]
    task = read_task(lines(tmp_path / "a.jsonl", *rows))
    examples = (*task.train, *task.validation, *task.test)
    assert {len(example.conversation.turns) for example in examples} == {2, 3}
    assert all(example.place and example.conversation.turns[-1].learned for example in examples)
    rows = [{"system": "", "prompt": f"Hi {i}", "completion": "Hello"} for i in range(60)]
    assert read_task(lines(tmp_path / "b.jsonl", *rows)).train[0].conversation is None


def test_fingerprints_know_roles_tools_and_what_is_learned():
    rows = [{"messages": [USER | {"content": str(i)}, BOT, USER, BOT]} for i in range(30)]
    system = [{"messages": [USER | {"content": str(i), "role": "system"}, BOT, USER, BOT]} for i in range(30)]
    tools = [row | {"tools": [{"name": "f"}]} for row in rows]
    tasks = [read_task(rows), read_task(rows, learn="last"), read_task(system), read_task(tools)]
    assert len({task.fingerprint for task in tasks}) == 4


def test_columns_of_conversations_are_named(tmp_path):
    row = {"chat": [USER, BOT], "boss": "Be kind.", "weight": 1}
    path = lines(tmp_path / "a.jsonl", row)
    with pytest.raises(InputError, match="'chat', 'boss', 'weight'"):
        read_examples(path)
    [one] = read_examples(path, ColumnNames(messages="Chat", system="boss"))
    assert [turn.content for turn in one.conversation.turns] == ["Be kind.", "Hi", "Hello"]
    with pytest.raises(InputError, match="name --messages-column or --prompt-column"):
        ColumnNames(system="boss")
    with pytest.raises(InputError, match="exclude each other"):
        ColumnNames(messages="chat", text="boss")


@pytest.fixture
def folder(model_folders, tmp_path):
    made = shutil.copytree(model_folders["llama"], tmp_path / "chatting")
    edit(made / "config.json", max_position_embeddings=512)
    strict = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    (made / "chat_template.jinja").write_text(strict + "{{ m.role }}: {{ m.content }}<end>\n{% endfor %}")
    return made


def test_an_example_is_shown_as_it_is_trained(folder, model_folders, tmp_path, capsys):
    path = lines(tmp_path / "a.jsonl", *[{"messages": [USER | {"content": f"Hi {i}"}, BOT]} for i in range(60)])
    shown = json.loads(run(capsys, "tasks", "show", path, "--models", folder, model_folders["gpt"], "--json"))
    assert [one["model"] for one in shown] == ["chatting", "gpt"]
    for one in shown:
        counted = [token["text"] for token in one["tokens"] if token["use"] == "learned and counted"]
        assert "".join(counted) == "Hello<end>"
    assert "assistant: Hello" not in run(capsys, "tasks", "show", path, "--models", folder)
    assert "there are 51 training" in refused(capsys, "tasks", "show", path, "--models", folder, "--example", "99")


def test_conversations_that_a_template_refuses_are_skipped_if_so_many_may_be(folder, tmp_path, capsys):
    odd = {"messages": [USER, {"role": "system", "content": "x"}, BOT]}
    rows = [{"messages": [USER | {"content": f"Hi {i}"}, BOT]} for i in range(80)]
    path = lines(tmp_path / "a.jsonl", odd, *rows)
    options = ["--sizes", "8", "--workers", "1", "--output-dir", tmp_path / "out"]
    said = refused(capsys, "select", path, "--models", folder, *options)
    assert "chatting cannot read this conversation: a.jsonl line 1: the chat template refuses it: no system" in said
    assert "--skip-bad-rows 1" in said
    printed = run(capsys, "select", path, "--models", folder, *options, "--skip-bad-rows", "1")
    assert "1 conversation that the chat template of chatting refuses left out for all candidates" in printed


def test_a_template_is_given_for_a_model(folder, tmp_path, capsys):
    path = lines(tmp_path / "a.jsonl", *[{"messages": [USER | {"content": f"Hi {i}"}, BOT]} for i in range(60)])
    mine = tmp_path / "mine.jinja"
    mine.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}<end>{% endfor %}")
    shown = run(capsys, "tasks", "show", path, "--models", folder, "--chat-template", f"{folder}={mine}", "--json")
    assert "".join(token["text"] for token in json.loads(shown)[0]["tokens"]).startswith("[user] Hi")
    mine.write_text("{% for m in messages %}")
    said = refused(capsys, "tasks", "show", path, "--models", folder, "--chat-template", mine)
    assert "is no chat template (line 1)" in said
