"""What every exporter keeps: the same examples in the same splits, masks, seeds, protocol and method."""

import json

import pytest
import yaml

from lensllm.errors import InputError
from lensllm.exporters import TOOLS, Recipe, export
from lensllm.selection import Selection

pytestmark = pytest.mark.xdist_group("exporters")

PLAIN = ("trl", "axolotl", "llama-factory")
METHODS = {"full": "full", "lora": "lora r16"}


def settings_of(made):
    """The configuration, whichever its name, as nested settings."""
    (name,) = [name for name in made.files if name.endswith(".yaml")]
    return yaml.safe_load(made.files[name])


def flat(settings):
    """All settings by their last name."""
    found = {}
    for name, value in settings.items():
        found |= flat(value) if isinstance(value, dict) and name != "data" else {name: value}
    return found


SAME = {
    "learning rate": ("learning_rate",),
    "epochs": ("num_train_epochs", "num_epochs"),
    "batch": ("per_device_train_batch_size", "micro_batch_size", "batch_size"),
    "accumulation": ("gradient_accumulation_steps",),
    "length": ("max_length", "sequence_len", "cutoff_len", "model_max_length", "max_seq_length"),
    "weight decay": ("weight_decay",),
    "seed": ("seed", "random_seed"),
}
WITH_SCHEDULE = {
    "schedule": ("lr_scheduler_type", "lr_scheduler"),
    "optimizer": ("optim", "optimizer"),
    "clipping": ("max_grad_norm",),
}


def value(settings, names):
    (found,) = [settings[name] for name in names if name in settings]
    return found


@pytest.fixture
def recipe_of(plain_selection, chat_selection):
    def made(kind, method):
        selection = Selection.load(plain_selection if kind == "plain" else chat_selection)
        name = next(row.candidate for row in selection.ranking if row.method == method)
        return Recipe.of(selection, name)

    return made


def cases():
    for tool in TOOLS:
        for kind in ("plain", "chat"):
            for method in METHODS:
                if kind == "chat" or tool in PLAIN:
                    yield tool, kind, method


@pytest.mark.parametrize(("tool", "kind", "method"), list(cases()))
def test_protocol_is_the_same(recipe_of, tool, kind, method):
    recipe = recipe_of(kind, method)
    settings = flat(settings_of(TOOLS[tool](recipe)))
    config = recipe.training
    expected = {
        "learning rate": recipe.expected.learning_rate, "epochs": config.num_train_epochs,
        "batch": config.per_device_train_batch_size, "accumulation": config.gradient_accumulation_steps,
        "length": recipe.reader.max_length, "weight decay": config.weight_decay, "seed": config.seed,
    }  # fmt: skip
    assert {name: value(settings, names) for name, names in SAME.items()} == expected
    if tool != "unsloth":
        told = {name: value(settings, names) for name, names in WITH_SCHEDULE.items()}
        assert told == {"schedule": "linear", "optimizer": "adamw_torch_fused", "clipping": 1.0}
    warm = {name: settings[name] for name in ("warmup_ratio", "warmup_steps") if name in settings}
    assert list(warm.values()) == [recipe.warmup_steps if tool == "unsloth" else config.warmup_ratio]
    assert not settings.get("trust_remote_code")
    assert not [name for name in settings if "pack" in name and settings[name]]


@pytest.mark.parametrize(("tool", "kind", "method"), list(cases()))
def test_method_is_the_same(recipe_of, tool, kind, method):
    recipe = recipe_of(kind, method)
    settings = flat(settings_of(TOOLS[tool](recipe)))
    is_lora = (
        settings.get("use_peft") is True
        or settings.get("adapter") == "lora"
        or settings.get("finetuning_type") == "lora"
        or settings.get("training_type") == "lora"
    )
    assert is_lora is (method == "lora")
    if method == "lora":
        assert value(settings, ("lora_r", "lora_rank")) == recipe.lora.lora_r
        assert settings["lora_alpha"] == recipe.lora.lora_alpha
        assert settings["lora_dropout"] == recipe.lora.lora_dropout


def said_in(row):
    """What is learned of an exported row, and what is not."""
    if "segments" in row:
        return "".join(s["text"] for s in row["segments"] if s["label"]).removesuffix("<end>"), row["segments"][0][
            "text"
        ]
    if "messages" in row:
        said = [m["content"] for m in row["messages"] if m.get("train", m["role"] == "assistant")]
        return tuple(said), tuple(m["content"] for m in row["messages"])
    return row["completion"].removesuffix("<end>"), row["prompt"]


def said_in_tokens(row, tokenizer):
    """What is learned of a row of tokens, without the template's own words."""
    assert len(row["input_ids"]) == len(row["labels"])
    assert all(label in (-100, token) for label, token in zip(row["labels"], row["input_ids"], strict=True))
    return ["".join(tokenizer.decode([label]) for label in row["labels"] if label != -100).replace("\n", "")]


@pytest.mark.parametrize(("tool", "kind", "method"), [case for case in cases() if case[2] == "full"])
def test_splits_hold_the_same_examples(recipe_of, tool, kind, method):
    recipe = recipe_of(kind, method)
    made = TOOLS[tool](recipe)
    for split in ("train", "validation", "test"):
        rows = [json.loads(line) for line in made.files[f"data/{split}.jsonl"].splitlines()]
        if (tool, kind) == ("trl", "chat"):
            assert [said_in_tokens(row, recipe.reader.tokenizer) for row in rows] == [
                ["".join(f"{turn.content}<end>" for turn in one.conversation.turns if turn.learned)]
                for one in recipe.splits[split]
            ]
            continue
        if kind == "plain":
            expected = [(one.completion, "<end>" + one.prompt) for one in recipe.splits[split]]
        else:
            turns = [one.conversation.turns for one in recipe.splits[split]]
            expected = [(tuple(t.content for t in of if t.learned), tuple(t.content for t in of)) for of in turns]
        assert [said_in(row) for row in rows] == expected
    assert len(recipe.splits["test"]) == 10


@pytest.mark.parametrize(("tool", "kind", "method"), list(cases()))
def test_prompts_are_masked(recipe_of, tool, kind, method):
    settings = flat(settings_of(TOOLS[tool](recipe_of(kind, method))))
    told = {
        "trl": settings.get("completion_only_loss") is (kind == "plain"),
        "axolotl": settings.get("train_on_inputs") is False,
        "llama-factory": settings.get("train_on_prompt") is False and settings.get("mask_history") is False,
        "oumi": settings.get("data", {}).get("train", {}).get("train_target") == "all_assistant_turns",
        "unsloth": settings.get("train_on_completions"),
    }
    assert told[tool] is True


@pytest.mark.parametrize("tool", TOOLS)
def test_the_loss_to_expect_is_in_the_comment(recipe_of, tool):
    recipe = recipe_of("chat", "lora")
    made = TOOLS[tool](recipe)
    text = next(text for name, text in made.files.items() if name.endswith(".yaml"))
    expected = recipe.expected
    assert f"# Expected test loss: {expected.forecast:.4f} nats a byte (90 % interval {expected.low:.4f}" in text
    assert f"# That is {expected.forecast * expected.bytes_a_token:.4f} nats a token" in text


@pytest.mark.parametrize("tool", ["oumi", "unsloth"])
def test_plain_text_is_refused_where_a_tool_would_learn_the_prompts(recipe_of, tool):
    with pytest.raises(InputError, match="reads plain text: export to"):
        TOOLS[tool](recipe_of("plain", "full"))


def test_qlora_is_said_to_every_tool(recipe_of):
    from dataclasses import asdict, replace

    from lensllm.candidates import Qlora

    recipe = recipe_of("chat", "lora")
    recipe = replace(recipe, method=Qlora(**asdict(recipe.lora)))
    for tool in TOOLS:
        settings = flat(settings_of(TOOLS[tool](recipe)))
        bits = settings.get("load_in_4bit") or settings.get("quantization_bit") == 4 or settings.get("q_lora")
        assert bits, tool


def test_files_are_written_and_a_folder_in_use_is_not(plain_selection, tmp_path):
    target, made = export(plain_selection, "trl", tmp_path / "mine")
    written = {str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()}
    assert written == set(made.files)
    with pytest.raises(InputError, match="mine is not empty"):
        export(plain_selection, "trl", tmp_path / "mine")
