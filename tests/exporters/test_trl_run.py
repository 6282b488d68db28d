"""TRL trains what was exported, and reaches the loss of our own run."""

import pytest

from evidence.exporters.trl_run import trained_by_trl
from lensllm.config import SelectConfig
from lensllm.exporters import Recipe, export
from lensllm.inputs import read_candidates
from lensllm.selection import Selection
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune

pytestmark = pytest.mark.xdist_group("exporters")


@pytest.mark.parametrize(("kind", "method"), [("plain", "full"), ("plain", "lora"), ("chat", "full")])
def test_the_exported_configuration_reaches_the_same_loss(kind, method, tmp_path, request):
    """Conversations of a template without marks of what the assistant says, too, which TRL refuses as messages."""
    folder = request.getfixturevalue(f"{kind}_selection")
    selection = Selection.load(folder)
    name = next(row.candidate for row in selection.ranking if row.method == method)
    recipe = Recipe.of(selection, name)
    task, found, _ = read_candidates(SelectConfig.of(**selection.provenance.settings))
    candidate = next(one for one in found.admitted if one.name == name)
    encoded = EncodedTask(candidate, task, recipe.training)
    ours = fine_tune(encoded, len(task.train), recipe.expected.learning_rate).nats_per_byte
    untrained = selection.curves.of([name]).losses[0, 0]
    target, _ = export(folder, "trl", tmp_path / "mine", name)
    theirs, logged = trained_by_trl(target, encoded)
    assert theirs == pytest.approx(ours, abs=0.1 * (untrained - ours))
    assert logged / recipe.expected.bytes_a_token == pytest.approx(theirs, rel=0.02)
