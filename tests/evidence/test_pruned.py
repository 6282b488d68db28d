"""Half of a model's layers are left, and what is left is tuned and saved."""

import pytest

from evidence.second_study.pruned import run
from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError


def test_half_of_the_layers_are_left(model_folders, sums_file, tmp_path):
    folder = tmp_path / "half"
    healed = run(folder, str(model_folders["llama"]), str(sums_file), examples=16)
    whole, half = (load_model(find_candidate(str(one))) for one in (model_folders["llama"], folder))
    assert healed.status == "done"
    assert half.config.num_hidden_layers == -(-whole.config.num_hidden_layers // 2)
    with pytest.raises(InputError, match="is not empty"):
        run(folder, str(model_folders["llama"]), str(sums_file), examples=16)
