import pytest

import lensllm
from lensllm.config import SelectConfig
from lensllm.errors import InputError


def test_an_option_that_does_not_exist_is_one_sentence_from_python_too():
    with pytest.raises(InputError, match=r"option 'buget': .*; the options are task, .*models"):
        lensllm.select("define", ["gpt2-0.2m-random"], buget=0.1)
    with pytest.raises(InputError, match=r"option 'budget': input should be greater than 0, got -1"):
        SelectConfig.of(budget=-1)


def test_one_value_stands_for_a_list_of_one():
    config = SelectConfig.of(models="gpt2", methods="lora", lora_target_modules="q_proj", chat_template="a.jinja")
    assert (config.models, config.methods, config.chat_template) == (["gpt2"], ["lora"], ["a.jinja"])
    assert config.lora().lora_target_modules == ("q_proj",)
