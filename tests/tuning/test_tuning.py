import dataclasses
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from lensllm.candidates import Full, Lora, find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.tasks import Example, Task, read_task
from lensllm.tasks.encoded import collate
from lensllm.tuning.context import Context
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import evaluate, token_nats
from lensllm.tuning.training_config import TrainingConfig

NAMES = ["gpt", "llama", "t5"]
QUICK = TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,))


@pytest.fixture(scope="module")
def task(sums_file):
    return read_task(sums_file)


@pytest.fixture
def encoded(model_folders, task):
    return lambda name, training_config=QUICK: EncodedTask(
        find_candidate(str(model_folders[name])), task, training_config
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_transformers_own(encoded, name):
    """One example at a time, the mean over its tokens is what the model returns by itself."""
    b = encoded(name)
    model = load_model(b.candidate).eval()
    total, tokens = 0.0, 0
    for example in b.split("test"):
        batch = collate([example])
        with torch.no_grad():
            own = model(**batch).loss.item()
        counted = sum(label != -100 for label in example.labels)
        total, tokens = total + own * counted, tokens + counted
    measured = evaluate(model, b.split("test"), batch_size=5)
    assert measured.tokens == tokens
    assert measured.nats == pytest.approx(total, rel=1e-5)
    assert measured.n_bytes == sum(len(e.completion.encode()) for e in b.task.test)
    assert measured.nats_per_byte == pytest.approx(total / measured.n_bytes, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_what_torch_counts(encoded, name):
    b = encoded(name)
    batch = collate(b.split("test")[:5])
    kind = AutoModelForSeq2SeqLM if b.candidate.encoder_decoder else AutoModelForCausalLM
    model = kind.from_pretrained(b.candidate.folder, attn_implementation="eager")
    meter = FlopMeter(load_model(b.candidate))
    with FlopCounterMode(display=False) as counter:
        loss = token_nats(model, batch).sum()
    meter.charge(batch, training=False)
    assert meter.total == pytest.approx(counter.get_total_flops(), rel=1e-6)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    meter.charge(batch, training=True)
    assert meter.total == pytest.approx(2 * counter.get_total_flops() + backward.get_total_flops(), rel=0.01)


def test_flops_against_six_n_d(encoded):
    """6 N D, N the parameters without the embeddings that are only looked up, misses attention and little else."""
    b = encoded("llama")
    model = load_model(b.candidate)
    batch = collate(b.split("train")[:8])
    meter = FlopMeter(load_model(b.candidate))
    meter.charge(batch, training=True)
    layers = sum(p.numel() for name, p in model.named_parameters() if "layers" in name)
    head = model.lm_head.weight.numel()
    kept = batch["input_ids"].shape[1] - int((batch["labels"][:, 1:] != -100).any(dim=0).int().argmax())
    six = 6 * 8 * (layers * batch["input_ids"].shape[1] + head * kept)
    assert six < meter.total < 1.35 * six


@pytest.mark.parametrize("name", NAMES)
def test_fine_tuning_learns_and_repeats_bit_for_bit(encoded, name):
    training_config = dataclasses.replace(QUICK, num_train_epochs=8, learning_rate_trials=(0.1, 2.0))
    before = fine_tune(encoded(name, training_config), 0)
    run = fine_tune(encoded(name, training_config), 96)
    assert before.status == run.status == "done"
    assert run.nats_per_byte < 0.8 * before.nats_per_byte
    assert run.learning_rate == max(t.learning_rate for t in run.trials)
    assert run.trials[1].validation < run.trials[0].validation
    again = fine_tune(encoded(name, training_config), 96, run.learning_rate)
    assert (again.nats_per_byte, again.nats_per_token) == (run.nats_per_byte, run.nats_per_token)
    assert again.flops < run.flops


def test_a_run_counts_its_tokens_and_flops(encoded):
    b = encoded("gpt")
    run = fine_tune(b, 50, 1e-3)
    assert run.tokens == sum(len(e.input_ids) for e in b.split("train")[:50])
    zero = fine_tune(b, 0)
    assert zero.tokens == 0
    assert zero.flops == zero.test_flops == pytest.approx(run.test_flops)
    assert run.flops > run.test_flops
    assert run.parameters == sum(p.numel() for p in load_model(b.candidate).parameters())


def test_divergence_is_recorded_with_its_reason(encoded):
    run = fine_tune(encoded("gpt"), 50, 1e30)
    assert run.status == "diverged"
    assert math.isnan(run.nats_per_byte)
    assert "became" in run.error or "not finite" in run.error
    assert run.flops > 0


def test_a_diverged_trial_loses_to_one_that_did_not(encoded):
    training_config = dataclasses.replace(QUICK, learning_rate_trials=(1e30, 1.0))
    run = fine_tune(encoded("gpt", training_config), 50)
    assert run.status == "done"
    assert run.trials[0].validation == math.inf
    assert run.learning_rate == run.trials[1].learning_rate
    alone = fine_tune(encoded("gpt", QUICK), 50, run.learning_rate)
    assert run.nats_per_byte == alone.nats_per_byte
    assert alone.tokens < run.tokens <= 2 * alone.tokens


def test_a_completion_too_long_names_split_and_model(model_folders):
    task = Task("t", (Example("a", "b"),) * 60, (Example("a", "b"),), (Example("a", "1 plus 2 is 3 " * 30),))
    with pytest.raises(InputError, match=r"t, test split: the completion of example 1 .* and gpt has room for 62"):
        fine_tune(EncodedTask(find_candidate(str(model_folders["gpt"])), task, QUICK), 0)


@pytest.mark.parametrize("name", NAMES)
def test_out_of_memory_halves_the_batch_and_keeps_the_steps(encoded, name, monkeypatch):
    from lensllm.tuning import loss, trainer

    whole = fine_tune(encoded(name), 100, 1e-2)

    def small(model, batch, **options):
        if len(batch["labels"]) > 2:
            raise torch.OutOfMemoryError("no room for more than two examples")
        return token_nats(model, batch, **options)

    monkeypatch.setattr(trainer, "token_nats", small)
    monkeypatch.setattr(loss, "token_nats", small)
    run = fine_tune(encoded(name), 100, 1e-2)
    assert run.status == "done"
    assert run.tokens > whole.tokens
    assert run.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", [Full(), Lora(lora_r=4)], ids=str)
def test_then_activations_are_formed_anew_and_then_the_candidate_is_given_up(encoded, name, method, monkeypatch):
    from lensllm.tuning import trainer

    def in_that_way(config=QUICK):
        made = encoded(name, config)
        made.candidate = dataclasses.replace(made.candidate, method=method)
        return fine_tune(made, 48, 1e-2)

    def small(model, batch, **options):
        if not model.is_activation_checkpointing or len(batch["labels"]) > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return token_nats(model, batch, **options)

    whole = in_that_way()
    asked = in_that_way(dataclasses.replace(QUICK, gradient_checkpointing="on"))
    assert asked.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-6)
    assert asked.flops > whole.flops
    monkeypatch.setattr(trainer, "token_nats", small)
    run = in_that_way()
    assert run.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-3)
    with pytest.raises(InputError, match=r"out of memory with one example at a time: weights, gradients and optim"):
        in_that_way(dataclasses.replace(QUICK, gradient_checkpointing="off"))


def test_a_rung_that_does_not_help_is_tried_at_a_lower_learning_rate(encoded):
    training_config = dataclasses.replace(QUICK, num_train_epochs=4)
    once = fine_tune(encoded("gpt", training_config), 96, 1e-2)
    assert once.trials == []
    enough = fine_tune(encoded("gpt", training_config), 96, 1e-2, previous_validation_loss=once.validation * 1.01)
    assert enough.untimed == once.untimed
    both = fine_tune(encoded("gpt", training_config), 96, 1e-2, previous_validation_loss=once.validation)
    assert [trial.learning_rate for trial in both.trials] == [1e-2, pytest.approx(3e-3)]
    assert both.validation == min(trial.validation for trial in both.trials)
    assert both.learning_rate == min(both.trials, key=lambda trial: trial.validation).learning_rate
    assert both.flops > 1.5 * once.flops
    better = fine_tune(encoded("gpt", training_config), 96, 0.1, previous_validation_loss=0.0)
    assert better.learning_rate == pytest.approx(0.03)
    assert better.nats_per_byte == fine_tune(encoded("gpt", training_config), 96, better.learning_rate).nats_per_byte


def test_nothing_is_encoded_before_it_is_needed(encoded, monkeypatch):
    """The model as it came needs no training example, and a rung no more than its own."""
    from lensllm.tuning import encoded_task

    read = []

    def watched(plain):
        return lambda examples, *rest, **options: read.append(len(examples)) or plain(examples, *rest, **options)

    for name in ("encode_with", "encode_split"):
        monkeypatch.setattr(encoded_task, name, watched(getattr(encoded_task, name)))
    b = encoded("gpt")
    fine_tune(b, 0)
    assert read == [len(b.task.test)]
    b.train(50)
    b.train(20)
    b.train(96)
    assert read[1:] == [50, 46]
    assert b.train(96) == EncodedTask(b.candidate, b.task, QUICK).split("train")[:96]


def test_a_worker_keeps_the_tasks_it_used_last(model_folders, task):
    context = Context(kept=2)
    gpt, llama, t5 = (find_candidate(str(model_folders[name])) for name in NAMES)
    first = context.encoded(gpt, task, QUICK)
    context.encoded(llama, task, QUICK)
    assert context.encoded(gpt, task, QUICK) is first
    context.encoded(t5, task, QUICK)
    assert context.encoded(gpt, task, QUICK) is first


def test_bytes_that_the_tokens_do_not_carry_are_charged(encoded):
    b = encoded("gpt")
    examples = b.split("test")
    plain = evaluate(load_model(b.candidate), examples)
    lossy = evaluate(load_model(b.candidate), [dataclasses.replace(one, n_lost=1) for one in examples])
    assert (lossy.nats, lossy.lost) == (plain.nats, len(examples))
    charged = plain.nats_per_byte + len(examples) * math.log(256) / plain.n_bytes
    assert lossy.nats_per_byte == pytest.approx(charged, rel=1e-12)


@pytest.mark.parametrize("method", [Full(), Lora(lora_r=4)], ids=str)
def test_the_best_rate_is_kept_wherever_it_stands(encoded, method):
    """The model measured is the best trial's, and each trial begins where the first began."""

    def tried(*rates):
        made = encoded("llama", dataclasses.replace(QUICK, num_train_epochs=4, learning_rate_trials=rates))
        made.candidate = dataclasses.replace(made.candidate, method=method)
        return fine_tune(made, 48)

    base = method.base_learning_rate(tried(1.0).parameters)
    alone = [tried(part) for part in (0.01, 1.0, 1e8)]
    assert alone[2].status == "diverged" or alone[2].nats_per_byte > alone[1].nats_per_byte
    for order in [(0.01, 1.0, 1e8), (1.0, 1e8, 0.01), (1e8, 0.01, 1.0)]:
        run = tried(*order)
        assert run.learning_rate == base
        assert (run.nats_per_byte, run.validation) == (alone[1].nats_per_byte, alone[1].validation)
        by_rate = {trial.learning_rate: trial.validation for trial in run.trials}
        assert by_rate[0.01 * base] == alone[0].validation


@pytest.mark.parametrize("method", [Full(), Lora(lora_r=4)], ids=str)
def test_a_second_rate_reads_no_more_weights_than_it_must(encoded, method, monkeypatch):
    from lensllm.tuning import in_training

    loads = []
    monkeypatch.setattr(in_training, "load_model", lambda *a, **o: loads.append(1) or load_model(*a, **o))
    made = encoded("gpt", dataclasses.replace(QUICK, learning_rate_trials=(0.1, 0.3, 1.0)))
    made.candidate = dataclasses.replace(made.candidate, method=method)
    before = fine_tune(made, 24)
    assert len(before.trials) == 3
    assert len(loads) == (1 if method.name == "lora" else 3)


def test_a_given_learning_rate_is_the_only_one_tried(encoded):
    config = dataclasses.replace(QUICK, learning_rate=2e-3)
    first = fine_tune(encoded("gpt", config), 24)
    assert (first.learning_rate, first.trials) == (2e-3, [])
    stuck = fine_tune(encoded("gpt", config), 24, 2e-3, previous_validation_loss=0.0)
    assert (stuck.learning_rate, stuck.trials) == (2e-3, [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", [Full(), Lora(lora_r=4)], ids=str)
def test_in_bfloat16_a_run_learns_as_much(encoded, name, method):
    def run(dtype, examples):
        made = encoded(name, dataclasses.replace(QUICK, num_train_epochs=6, dtype=dtype))
        made.candidate = dataclasses.replace(made.candidate, method=method)
        kept = []
        return fine_tune(made, examples, 1e-2 if examples else None, keep=kept.append), kept

    untouched, _ = run("bfloat16", 0)
    exact, _ = run("float32", 96)
    rounded, [model] = run("bfloat16", 96)
    assert untouched.nats_per_byte == pytest.approx(run("float32", 0)[0].nats_per_byte, rel=0.01)
    assert rounded.nats_per_byte == pytest.approx(exact.nats_per_byte, rel=0.03)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    stay = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert stay == ({torch.bfloat16} if method.name == "lora" else set())


@pytest.mark.parametrize(
    "other",
    [
        {"lr_scheduler_type": "constant"},
        {"max_grad_norm": 1e-3},
        {"optim": "adafactor"},
        {"weight_decay": 0.9},
        {"warmup_ratio": 0.5},
        {"gradient_accumulation_steps": 3},
    ],
    ids=str,
)
def test_every_setting_of_training_changes_it(encoded, other):
    usual = fine_tune(encoded("gpt"), 48, 1e-2)
    assert fine_tune(encoded("gpt", dataclasses.replace(QUICK, **other)), 48, 1e-2).validation != usual.validation


def test_examples_a_step_are_what_counts(encoded):
    """8 at once are 2 at once four times over."""
    halves = dataclasses.replace(QUICK, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    whole, parts = (fine_tune(encoded("llama", config), 48, 1e-2) for config in (QUICK, halves))
    assert parts.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-4)
