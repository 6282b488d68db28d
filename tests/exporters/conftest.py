"""Two selections to export: of models that read plain text, and of one with a chat template."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

import lensllm

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
FEW = {"sizes": [16, 32], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1, "methods": ["full", "lora"]}


@pytest.fixture(scope="session")
def plain_selection(tmp_path_factory, model_folders, sums_file):
    folder = tmp_path_factory.mktemp("plain")
    lensllm.select(str(sums_file), [str(model_folders["gpt"])], output_dir=str(folder), **FEW)
    return folder


@pytest.fixture(scope="session")
def chat_selection(tmp_path_factory, model_folders):
    root = tmp_path_factory.mktemp("chat")
    model = shutil.copytree(model_folders["llama"], root / "talker")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(model)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{i} plus 1"},
                {"role": "assistant", "content": f"{i + 1}"},
                {"role": "user", "content": f"And plus {i % 7}"},
                {"role": "assistant", "content": f"{i + 1 + i % 7}"},
            ]
        }
        for i in range(120)
    ]
    data = root / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lensllm.select(str(data), [str(model)], output_dir=str(root / "out"), **FEW)
    return root / "out"
