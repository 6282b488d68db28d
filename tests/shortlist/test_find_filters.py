"""What metadata alone says against a model: each reason once, and the first one only."""

from types import SimpleNamespace

import pytest
from hub_of_many import model
from huggingface_hub.hf_api import ModelInfo

from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.filters import without_unfit
from lensllm.shortlist.listed import Listed

FREE = 8 << 30


def listed(name="org/name", **told):
    return Listed.of(ModelInfo(siblings=None, **model(name, **told)))


def dropped(one, free=FREE, **options):
    """Kind and reason of a model; None if nothing is said against it."""
    left, gone = without_unfit([one], FindConfig.of(task="t", **options), free)
    assert len(left) + len(gone) == 1
    return (gone[0].kind, gone[0].reason) if gone else None


def test_nothing_is_said_against_a_good_one():
    asked = {"license": ["apache-2.0", "mit"], "language": ["it"], "max_parameters": "3B", "max_age_days": 200}
    assert dropped(listed(parameters=3_000_000_000), **asked, min_downloads=1000) is None
    assert dropped(listed(tags=["base_model:org/base", "base_model:finetune:org/base"])) is None


@pytest.mark.parametrize(
    ("told", "options", "kind", "reason"),
    [
        ({"name": "org/[red]\x1b[2J"}, {}, "no name of a model", "is no name that can be asked for"),
        ({"name": "../../etc"}, {}, "no name of a model", "is no name"),
        ({"disabled": True}, {}, "held back by the hub", "disabled"),
        ({"gated": "manual"}, {}, "gated", "--gated"),
        ({"pipeline_tag": "fill-mask"}, {}, "for another task", "it is for fill-mask, not text-generation"),
        ({"pipeline_tag": None}, {}, "for another task", "it is for nothing that it names"),
        ({"library_name": "peft"}, {}, "adapter", "it is an adapter and not"),
        ({"tags": ["base_model:adapter:org/base"]}, {}, "adapter", "it is an adapter of org/base and not"),
        ({"tags": ["lora"]}, {}, "adapter", "adapter"),
        ({"tags": ["gguf"], "parameters": 0}, {}, "GGUF", "GGUF"),
        ({"tags": ["base_model:quantized:org/base"]}, {}, "quantised copy", "it is quantised of org/base"),
        ({"tags": ["AWQ"]}, {}, "quantised copy", "it is quantised (awq)"),
        ({"config": {"quantization_config": {"quant_method": "gptq"}}}, {}, "quantised copy", "it is quantised (gptq)"),
        ({"types": {"I32": 90_000, "F16": 10_000}}, {}, "quantised copy", "no floating-point numbers (F16, I32)"),
        ({"tags": ["base_model:merge:a/b", "base_model:merge:c/d"]}, {}, "merge", "it is a merge of a/b, c/d"),
        ({"tags": ["mergekit"]}, {}, "merge", "it is a merge"),
        ({"parameters": 0}, {}, "no safetensors weights", "no safetensors"),
        ({"license": "mit"}, {"license": ["apache-2.0"]}, "another licence", "its licence is mit, not apache-2.0"),
        ({"languages": ["en"]}, {"language": ["it"]}, "another language", "it does not name it among"),
        (
            {"parameters": 500_000_001},
            {"max_parameters": "500M"},
            "too many parameters",
            "500,000,001 parameters, more",
        ),
        ({"parameters": 5_000_000_000}, {}, "does not fit this machine", "9.3 GiB in bfloat16, and 8.0 GiB are free"),
        ({"downloads": 9}, {"min_downloads": 10}, "few downloads", "9 downloads of the last month, fewer than 10"),
        ({"days": 40}, {"max_age_days": 30}, "too old", "it came 40 days ago"),
        ({"createdAt": None}, {"max_age_days": 30}, "too old", "the hub does not say when"),
    ],
)
def test_each_reason(told, options, kind, reason):
    found = dropped(listed(**told), **options)
    assert found is not None
    assert found[0] == kind
    assert reason in found[1]


def test_what_the_options_allow():
    assert dropped(listed(gated="auto"), gated=True) is None
    assert dropped(listed(parameters=5_000_000_000), methods=["qlora"]) is None
    assert dropped(listed(pipeline_tag="text2text-generation"), pipeline_tag="text2text-generation") is None
    assert dropped(listed(license="MIT"), license=["Mit"]) is None


def test_metadata_of_other_types_are_passed_over():
    odd = SimpleNamespace(
        id="org/odd", sha=1, config=[], safetensors=SimpleNamespace(parameters=[], total="many"), created_at="once",
        downloads=-3, gated=None, disabled=None, library_name={}, pipeline_tag=7, tags=["it", 3, None],
    )  # fmt: skip
    assert Listed.of(odd) == Listed("org/odd", tags=("it", "", ""))


@pytest.mark.parametrize(
    ("text", "number"), [("3B", 3e9), ("500M", 5e8), ("1e9", 1e9), (" 1.5 b ", 1.5e9), ("70000", 7e4), ("2k", 2e3)]
)
def test_numbers_of_parameters(text, number):
    assert FindConfig.of(task="t", max_parameters=text).most_parameters == number


@pytest.mark.parametrize("text", ["3X", "B", "-3B", "0", "nan", "inf", "3 B B", "1e99", "3GB", "\x1b"])
def test_what_is_no_number_of_parameters(text):
    with pytest.raises(InputError, match=r"max_parameters is '.*': expected a number above 0 such as 3B, 500M or 1e9"):
        FindConfig.of(task="t", max_parameters=text)


def test_bytes():
    assert FindConfig.of(task="t", max_download="50GB").most_bytes == 5e10
    with pytest.raises(InputError, match="max_download is '50B': expected a number above 0 such as 50GB"):
        FindConfig.of(task="t", max_download="50B")


def test_the_runs_are_those_of_select():
    config = FindConfig.of(task="t", max_length=256, methods=["lora"], max_test_examples=20)
    assert config.selection().methods == ["lora"]
    asked = SelectConfig.of(task="t", max_length=256, max_test_examples=20)
    assert config.training_config() == asked.training_config()
