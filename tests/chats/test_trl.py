"""Token ids and learned positions equal those of TRL's SFTTrainer on the same rows."""

from __future__ import annotations

import functools

import pytest
from chat_tokenizers import TRLS, template, tokenizer_with
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel
from trl import SFTConfig, SFTTrainer

from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import IGNORED, Reader
from lensllm.tasks.formats.messages import turns_in
from lensllm.tasks.formats.prompt_completion import example
from lensllm.tasks.rows import Cells, Row

TURNS = [
    {"role": "user", "content": "My order 12 is late."},
    {"role": "assistant", "content": "I am sorry. Naïve question:\nwhich address?"},
    {"role": "user", "content": "The <b>old</b> one"},
    {"role": "assistant", "content": "🙂 It ships today."},
]
SYSTEM = {"role": "system", "content": "Be brief."}
FAMILIES = {
    "llama3": "<|eot_id|>",
    "qwen3_instruct_2507": "<|im_end|>",
    "qwen2_5_vl": "<|im_end|>",
    "gemma": "<eos>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|end|>",
    "smollm": "<|im_end|>",
    "smollm2_135m_instruct": "<|im_end|>",
    "mistral": "<eos>",
}
TRAINED_ALIKE = (
    *("cohere", "cohere2", "diffusion_gemma", "gemma", "gemma3", "lfm2", "lfm2_v2", "llama3", "phi3", "phi3_5"),
    *("qwen2_5_vl", "qwen3_instruct_2507", "qwen3_vl"),
)
"""Templates whose text TRL does not change for training, and whose marks do not take in the prompt's last words."""


@functools.cache
def tiny(vocabulary):
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_embd=8, n_layer=1, n_head=1, n_positions=512))


def trained_by_trl(row, tokenizer, folder, **settings):
    arguments = SFTConfig(output_dir=str(folder), report_to=[], max_length=None, use_cpu=True, bf16=False, **settings)
    trainer = SFTTrainer(
        tiny(len(tokenizer)), arguments, train_dataset=Dataset.from_list([row]), processing_class=tokenizer
    )
    [made] = list(trainer.train_dataset)
    return list(made["input_ids"]), list(made["labels"])


def trained_by_us(row, tokenizer, learn="assistant", **options):
    read = turns_in("messages") if "messages" in row else example
    made = read(Cells(Row(row, 1), "row 1"))
    if made.conversation:
        made = type(made).of(made.conversation.learning(learn))
    [one] = encode_with([made], Reader(tokenizer, False, 4096, **options))
    return one.input_ids, one.train_labels or one.labels


def learned(labels, tokenizer):
    return tokenizer.decode([label for label in labels if label != IGNORED])


@pytest.mark.parametrize(("name", "end"), FAMILIES.items())
def test_conversational_prompt_and_completion(name, end, tmp_path):
    tokenizer = tokenizer_with(name, end)
    rows = [{"prompt": TURNS[:1], "completion": TURNS[1:2]}, {"prompt": TURNS[:3], "completion": TURNS[3:]}]
    if name != "gemma":
        rows.append({"prompt": [SYSTEM, *TURNS[:3]], "completion": TURNS[3:]})
    for row in rows:
        ours, theirs = trained_by_us(row, tokenizer), trained_by_trl(row, tokenizer, tmp_path)
        assert ours == theirs, (learned(ours[1], tokenizer), learned(theirs[1], tokenizer))


@pytest.mark.parametrize(("name", "end"), FAMILIES.items())
def test_messages_of_which_all_is_learned(name, end, tmp_path):
    tokenizer = tokenizer_with(name, end)
    row = {"messages": TURNS}
    assert trained_by_us(row, tokenizer, "all") == trained_by_trl(row, tokenizer, tmp_path)


@pytest.mark.parametrize("name", ["llama3", "qwen3_instruct_2507", "gemma", "gemma3", "phi3"])
def test_messages_of_which_the_assistant_is_learned(name, tmp_path):
    tokenizer = tokenizer_with(name, FAMILIES[name])
    row = {"messages": TURNS}
    assert trained_by_us(row, tokenizer) == trained_by_trl(row, tokenizer, tmp_path, assistant_only_loss=True)


@pytest.mark.parametrize("name", TRAINED_ALIKE)
def test_marks_are_found_without_marks_in_the_template(name):
    """Against the assistant mask of TRL's marked copy of the same template."""
    tokenizer = tokenizer_with(name)
    for turns in (TURNS[:2], TURNS) if name == "gemma" else (TURNS[:2], TURNS, [SYSTEM, *TURNS]):
        made = tokenizer.apply_chat_template(
            turns,
            chat_template=(TRLS / f"{name}_training.jinja").read_text(),
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        marks = zip(made["input_ids"], made["assistant_masks"], strict=True)
        theirs = [token if mark else IGNORED for token, mark in marks]
        assert trained_by_us({"messages": turns}, tokenizer) == (made["input_ids"], theirs)


def test_plain_pairs_differ_in_the_start_token_alone(tmp_path):
    """Meant: a text begins with bos, so that its first token is learned, too (docs/decisions.md)."""
    tokenizer = tokenizer_with()
    row = {"prompt": "1 plus 1 is", "completion": " 2"}
    ids, labels = trained_by_trl(row, tokenizer, tmp_path)
    ours = trained_by_us(row, tokenizer)
    assert ours == ([tokenizer.bos_token_id, *ids], [IGNORED, *labels])


@pytest.mark.parametrize("path", sorted(TRLS.glob("*.jinja")), ids=lambda path: path.stem)
def test_every_template_of_the_field_is_read(path):
    """What is learned holds what the assistant says and nothing that the user says."""
    if path.stem.endswith("_training"):
        pytest.skip("a copy with marks")
    tokenizer = tokenizer_with(path.stem)
    _, labels = trained_by_us({"messages": TURNS}, tokenizer)
    said = learned(labels, tokenizer)
    assert all(turn["content"] in said for turn in TURNS[1::2])
    assert not any(turn["content"] in said for turn in TURNS[::2])
    assert template(path.stem)
