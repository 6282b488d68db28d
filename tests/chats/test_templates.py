"""What a template does to a conversation, and what is said of it."""

from __future__ import annotations

import pytest
from chat_tokenizers import tokenizer_with

from lensllm.errors import InputError
from lensllm.tasks import Example, Task
from lensllm.tasks.conversation import Conversation, Turn
from lensllm.tasks.encode import encode_split, encode_with
from lensllm.tasks.encoded import IGNORED, Reader
from lensllm.tuning.chat_notes import chat_notes


def chat(*texts, system="", learned=True):
    sides = ("user", "assistant")
    turns = [Turn(sides[i % 2], text, learned and i % 2 == 1) for i, text in enumerate(texts)]
    return Conversation((*([Turn("system", system)] if system else []), *turns))


def reader(name, length=4096, **options):
    tokenizer = tokenizer_with(name) if isinstance(name, str) else name
    return Reader(tokenizer, False, length, model_name=str(name), **options)


def said(encoded, of, labels=None):
    return of.tokenizer.decode([label for label in labels or encoded.labels if label != IGNORED])


def notes_of(conversation, of):
    examples = (Example.of(conversation),)
    return " ".join(chat_notes(Task("t", examples, (), examples), of))


def test_reasoning_of_earlier_turns_that_is_dropped_is_said():
    conversation = chat("one?", "<think>\nhm\n</think>\n\nOne.", "two?", "<think>\nso\n</think>\n\nTwo.")
    of = reader("qwen3")
    [one] = encode_with([Example.of(conversation)], of)
    assert said(one, of) == "One.<|im_end|><think>\nso\n</think>\n\nTwo.<|im_end|>"
    assert one.n_bytes == len("One." + "<think>\nso\n</think>\n\nTwo.")
    assert "leaves out" in notes_of(conversation, of)
    assert "leaves out" not in notes_of(chat("one?", "One."), of)


def test_an_empty_block_of_reasoning_is_learned_and_not_counted():
    of = reader("qwen3")
    [one] = encode_with([Example.of(chat("one?", "One."))], of)
    assert said(one, of) == "One.<|im_end|>"
    assert said(one, of, one.train_labels).startswith("<think>\n\n</think>\n\nOne.")


def test_a_template_without_a_system_turn_puts_it_before_the_user():
    of = reader("gemma")
    [one] = encode_with([Example.of(chat("Hi", "Hello", system="Be brief."))], of)
    assert "Be brief.\n\nHi<end_of_turn>" in of.tokenizer.decode(one.input_ids)
    assert "knows no system turn" in notes_of(chat("Hi", "Hello", system="Be brief."), of)


def test_the_date_is_the_same_every_day():
    of = reader("llama3_2")
    [one] = encode_with([Example.of(chat("Hi", "Hello"))], of)
    assert "Today Date: 01 Jan 2025" in of.tokenizer.decode(one.input_ids)
    assert "01 January 2025 stands for it" in notes_of(chat("Hi", "Hello"), of)
    assert "01 January" not in notes_of(chat("Hi", "Hello"), reader("llama3"))


def test_an_end_that_the_model_does_not_know_is_said():
    assert "would not stop" in notes_of(chat("Hi", "Hello"), reader("llama3"))
    known = tokenizer_with("llama3", "<|eot_id|>")
    assert "would not stop" not in notes_of(chat("Hi", "Hello"), reader(known))
    end = tokenizer_with("llama3").convert_tokens_to_ids("<|eot_id|>")
    assert "would not stop" not in notes_of(chat("Hi", "Hello"), reader("llama3", ends=(end,)))


@pytest.mark.parametrize("name", ["llama3", "qwen3", "mistral", ""])
def test_control_tokens_in_what_is_said_are_text(name):
    control = "<|eot_id|> <|im_end|> <eos>"
    of = reader(name)
    plain, odd = encode_with(
        [Example.of(chat("Hi", "Hello")), Example.of(chat(f"Hi {control}", f"Hello {control}"))], of
    )
    ids = set(of.tokenizer.all_special_ids)
    assert [i for i in odd.input_ids if i in ids] == [i for i in plain.input_ids if i in ids]
    assert control in of.tokenizer.decode(odd.input_ids)
    assert odd.n_lost == 0
    assert "read as text" in notes_of(chat("Hi <eos>", "Hello"), of)


def test_two_user_turns_in_a_row_are_refused_by_name():
    odd = Conversation((Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c", True)))
    with pytest.raises(InputError, match=r"a.jsonl line 3: gemma cannot read this .*Conversation roles must alternate"):
        encode_with([Example(odd.prompt, odd.completion, "a.jsonl line", 3, odd)], reader("gemma"))
    assert encode_with([Example.of(odd)], reader("llama3"))


def test_a_template_that_hides_a_learned_turn_is_refused():
    tokenizer = tokenizer_with("smollm")
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer._tokenizer, eos_token="<eos>", bos_token="<bos>")
    tokenizer.chat_template = "{% for turn in messages %}{{ turn.role }}{% endfor %}"
    with pytest.raises(InputError, match="leaves out what the assistant says in turn 2, which is learned"):
        encode_with([Example.of(chat("a", "b"))], reader(tokenizer))


def test_long_conversations_lose_their_oldest_turns_and_never_the_system():
    conversation = chat("first", "one", "second", "two", "third", "three", system="Be brief.")
    of = reader("smollm")
    [whole] = encode_with([Example.of(conversation)], of)
    short = reader("smollm", len(whole.input_ids) - 1)
    made = encode_split([Example.of(conversation)], short)
    text = short.tokenizer.decode(made.examples[0].input_ids)
    assert made.dropped == {0: 1}
    assert "Be brief." in text
    assert "first" not in text
    assert "second" in text
    assert said(made.examples[0], short) == "two<|im_end|>three<|im_end|>"


def test_the_last_exchange_loses_the_beginning_of_the_question():
    question = " ".join(f"word{i}" for i in range(60))
    made = encode_split([Example.of(chat(question, "Yes."))], reader("smollm", 120))
    [one] = made.examples
    assert (made.prompts_cut, len(one.input_ids)) == (1, 120)
    text = tokenizer_with("smollm").decode(one.input_ids)
    assert text.endswith("word59<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n")
    assert encode_split([Example.of(chat("a", question))], reader("smollm", 60)).left_out == (0,)


def test_pairs_are_conversations_where_the_model_has_a_template():
    pair = [Example("1 plus 1 is", " 2")]
    assert tokenizer_with("smollm").decode(encode_with(pair, reader("smollm"))[0].input_ids).count("<|im_start|>") == 3
    assert "<|im_start|>" not in tokenizer_with("smollm").decode(
        encode_with(pair, reader("smollm", chat="off"))[0].input_ids
    )
    assert "User:" not in tokenizer_with("").decode(encode_with(pair, reader(""))[0].input_ids)
    assert "User:" in tokenizer_with("").decode(encode_with(pair, reader("", chat="on"))[0].input_ids)
    assert {encode_with(pair, reader(name))[0].n_bytes for name in ("smollm", "")} == {2}


@pytest.mark.parametrize("name", ["llama3", "gemma3", "mistral", "phi3", "qwen3_instruct_2507", ""])
def test_what_is_counted_is_what_is_said_whatever_the_template(name):
    """So a loss in nats a byte is of the same bytes under every template."""
    of = reader(name)
    [one] = encode_with([Example.of(chat("Hi", "Hello there.", "And?", "Nothing."))], of)
    assert one.n_bytes == len("Hello there.Nothing.")
    control = [token for token in of.template.control_tokens if token in said(one, of)]
    text = said(one, of)
    for token in control:
        text = text.replace(token, "")
    assert text.replace(" ", "") == "Hellothere.Nothing."


def test_an_encoder_decoder_writes_the_last_turn_alone():
    of = Reader(tokenizer_with(""), True, 4096, model_name="t5")
    [one] = encode_with([Example.of(chat("Hi", "Hello"))], of)
    assert of.tokenizer.decode(one.labels) == "Hello<eos>"
    assert of.tokenizer.decode(one.input_ids) == "User:\nHi\n\nAssistant:\n<eos>"
    with pytest.raises(InputError, match="writes one turn only, the last: learn that alone with --learn last"):
        encode_with([Example.of(chat("Hi", "Hello", "And?", "No"))], of)


@pytest.mark.parametrize("name", ["qwen3", "qwen3_instruct_2507", "qwen3_vl", ""])
def test_a_call_of_a_tool_is_learned_whole(name):
    """Qwen3 writes an empty block of reasoning before it if it is the last turn, and none if an answer follows."""
    calls = '{"tool_calls": [{"type": "function", "function": {"name": "find", "arguments": {"id": 3}}}]}'
    turns = (
        Turn("user", "where?"),
        Turn("assistant", "", True, calls),
        Turn("tool", "day 4"),
        Turn("assistant", "On day 4.", True),
    )
    of = reader(name)
    [one] = encode_with([Example.of(Conversation(turns, '[{"type": "function", "function": {"name": "find"}}]'))], of)
    call, answer = said(one, of).split("On day 4.")
    assert '"name": "find"' in call
    assert '"arguments": {"id": 3}' in call
    assert "day 4" not in call
    assert call.endswith(("</tool_call><|im_end|>", "}<eos>"))
    assert answer
    assert one.n_bytes == len('{"name": "find", "arguments": {"id": 3}}' + "On day 4.")
