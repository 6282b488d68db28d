"""A candidate that is added to a selection that runs: who is let in, who is not, and what comes of it."""

import json
import shutil
from dataclasses import replace

import pytest

import lensllm
from lensllm.admission import Admission
from lensllm.candidates import find_candidate
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.inputs import read_candidates
from lensllm.planning.selection_plan import this_machine
from lensllm.search.callbacks import Callback
from lensllm.search.orders import Order
from lensllm.search.replay import replay_folder
from lensllm.selection import Selection
from lensllm.zoo import model_path

OWN_TEMPLATE = (
    "{% for one in messages %}<{{ one.role }}>{{ one.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FIRST, SECOND = "gpt2-0.2m-brown-0.3m", "llama-0.2m-austen-1.5m"


@pytest.fixture
def admission(tmp_path):
    """`admission()(model, method)` of a selection among two models, one of them tuned in two ways."""

    def made(task="define", candidates=(), **options):
        config = SelectConfig.of(task=task, models=[FIRST], methods=["full", "lora"], output_dir=tmp_path, **options)
        read, found, _ = read_candidates(config)
        admit = Admission(config, read, None, this_machine(1), 1)
        return lambda model, method="": admit(str(model), method, candidates or found.admitted)

    return made


def test_a_model_is_let_in_under_the_name_that_it_would_have_had(admission):
    ask = admission(lora_r=4)
    named = {(SECOND, method): ask(SECOND, method) for method in ("", "full", "lora", "qlora")}
    assert [one.candidate.name for one in named.values()] == [
        f"{SECOND} full", f"{SECOND} full", f"{SECOND} lora r4", f"{SECOND} qlora r4"
    ]  # fmt: skip
    lora = named[SECOND, "lora"]
    assert lora.candidate.method.lora_r == 4
    assert (lora.entrant.name, lora.entrant.model, lora.entrant.method) == (f"{SECOND} lora r4", SECOND, "lora")
    assert lora.entrant.memory > 0
    assert ask(FIRST, "qlora").candidate.name == f"{FIRST} qlora r4"


def test_a_model_that_is_there_keeps_its_chat_template_when_it_is_tuned_in_another_way(admission):
    """Also one that a Python program gave as an object, which no option names."""
    own = replace(find_candidate(SECOND), chat_template=OWN_TEMPLATE, name="mine")
    admitted = admission(candidates=[own])(SECOND, "lora")
    assert (admitted.candidate.chat_template, admitted.candidate.model_name) == (OWN_TEMPLATE, "mine")


@pytest.mark.parametrize(
    ("model", "method", "why"),
    [
        (FIRST, "lora", f"it is among the candidates: {FIRST} lora r"),
        ("nothing-7b", "", "no model 'nothing-7b'"),
        ("../../etc", "", r"no model|no config"),
        ("a\0b", "", "cannot hold the character NUL"),
    ],
)
def test_who_cannot_take_part_is_refused_with_the_reason(admission, model, method, why):
    with pytest.raises(InputError, match=why):
        admission()(model, method)


def test_another_model_of_the_same_name_is_refused(admission, tmp_path):
    other = shutil.copytree(model_path(SECOND), tmp_path / "other" / FIRST)
    with pytest.raises(InputError, match=f"another candidate of the name {FIRST} full: rename the folder"):
        admission()(other)


def test_who_cannot_take_all_examples_is_refused_since_the_others_were_measured_on_them(admission, tmp_path):
    short = shutil.copytree(model_path(SECOND), tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 40}))
    rows = [{"prompt": f"{n} and {n} make", "completion": f" {n + n}"} for n in range(300)]
    rows[7]["completion"] = " a number that nobody has ever heard of" * 6
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask = admission(file)
    with pytest.raises(InputError, match="cannot take all examples that the others are measured on: begin a selection"):
        ask(short)
    assert ask(SECOND).candidate.name == f"{SECOND} full"


def test_who_does_not_fit_is_refused(admission, monkeypatch):
    ask = admission()
    monkeypatch.setattr(Admission, "_room", property(lambda self: _small(self.machine)))
    with pytest.raises(InputError, match="needs about"):
        ask(SECOND)


def _small(machine):
    return replace(machine, device=replace(machine.device, free=1000))


class AskOnce(Callback):
    """Asks for something when the search first decides."""

    def __init__(self, folder, *orders):
        self.folder, self.orders = folder, orders

    def on_decision(self, decision):
        orders, self.orders = self.orders, ()
        for order in orders:
            order.ask(self.folder)


def test_a_candidate_added_while_a_selection_runs_is_in_the_answer_and_in_a_repetition(tmp_path):
    options = {"budget": 0.5, "stop_p_best": 1.0, "stop_regret": 0.0, "num_train_epochs": 1, "learning_rate": 1e-3,
               "max_test_examples": 10, "workers": 1, "output_dir": tmp_path}  # fmt: skip
    adding = AskOnce(tmp_path, Order("add", model=SECOND, method="lora"))
    found = lensllm.select("define", [FIRST], callbacks=[adding], **options)
    [name] = {row.candidate for row in found.ranking if row.candidate.startswith(f"{SECOND} lora")}
    assert name in [row.candidate for row in found.ranking]
    assert len(next(row for row in found.ranking if row.candidate == name).measured) > 3
    assert f"you added {name} while it ran" in found.notes
    assert {one.name for one in found.provenance.candidates} == {FIRST, name}
    assert all(made.agrees for made in replay_folder(tmp_path))
    again = lensllm.select("define", [FIRST], **options)
    assert [row.candidate for row in again.ranking] == [row.candidate for row in found.ranking]
    loaded = Selection.load(tmp_path)
    trained = loaded.train(candidate=name, examples=50)
    assert (trained.folder / "adapter_model.safetensors").is_file()
