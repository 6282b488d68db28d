import numpy as np
import pytest
import torch
from cases import CAUSAL, ENCODER_DECODER, VOCABULARY, batch, dense_gradients, dense_gram, error, tiny

from lensllm.errors import InputError
from lensllm.probes import gram as gram_module
from lensllm.probes import rows as rows_module
from lensllm.probes.ghost import Capture
from lensllm.probes.kernel import Kernel, kernel

FAMILIES = CAUSAL + ENCODER_DECODER


@pytest.mark.parametrize("output", ["scalar", "token", "pseudo"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_plain_autograd(family, tied, output):
    model, data = tiny(family, tied), batch(family)
    measured = kernel(model, [data], output)
    assert error(measured.gram, dense_gram(model, data, output)) < 1e-4
    assert np.allclose(measured.gram, measured.gram.T)
    assert np.linalg.eigvalsh(measured.gram).min() > -1e-6 * measured.gram.trace()


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_double_precision_leaves_only_rounding(family):
    model, data = tiny(family, dtype=torch.float64), batch(family)
    assert error(kernel(model, [data]).gram, dense_gram(model, data, "token")) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_either_side_changes_nothing(family):
    model = tiny(family)
    plain = kernel(model, [batch(family)])
    for data in (batch(family, side="left"), batch(family, ending=5)):
        padded = kernel(model, [data])
        assert error(padded.gram, plain.gram) < 1e-5
        assert np.array_equal(padded.index, plain.index)


@pytest.mark.parametrize(
    ("module", "limit", "value"), [(rows_module, "ROW_LIMIT", 4), (gram_module, "POSITION_NUMBERS", 1)]
)
def test_batching_and_memory_change_nothing(monkeypatch, module, limit, value):
    model, data = tiny("gpt2"), batch("gpt2")
    truth = dense_gram(model, data, "token")
    monkeypatch.setattr(module, limit, value)
    single = [{name: tensor[i : i + 1] for name, tensor in data.items()} for i in range(len(data["labels"]))]
    assert error(kernel(model, single, memory=1).gram, truth) < 1e-4


@pytest.mark.parametrize("way", ["_add_direct", "_add_shared", "_add_pairs"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_every_way_of_multiplying_agrees(monkeypatch, way, family):
    """The cheapest way is taken by size alone; each must be right at any size."""
    model, data = tiny(family), batch(family)
    taken = []

    def forced(total, weight, rows):
        shared = weight.shared is not None
        name = way if shared or way != "_add_shared" else "_add_direct"
        name = name if not shared or name != "_add_pairs" else "_add_direct"
        taken.append(name)
        getattr(gram_module, name)(total, weight, len(rows) if name == "_add_pairs" else rows)

    monkeypatch.setattr(gram_module, "_add_weight", forced)
    assert error(kernel(model, [data]).gram, dense_gram(model, data, "token")) < 1e-4
    assert way in taken


def test_low_rank_adapters_alone():
    from peft import LoraConfig, get_peft_model

    data = batch("llama")
    model = get_peft_model(
        tiny("llama"), LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    assert error(kernel(model, [data]).gram, dense_gram(model, data, "token")) < 1e-4


def test_frozen_parameters_do_not_count():
    model, data = tiny("gpt2"), batch("gpt2")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "ln_" in name
    assert error(kernel(model, [data]).gram, dense_gram(model, data, "token")) < 1e-4


def test_a_parameter_of_unusual_use_is_exact_too():
    model, data = tiny("gpt2"), batch("gpt2")
    mix = torch.nn.Parameter(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))
    model.transformer.register_parameter("mix", mix)
    model.transformer.ln_f.register_forward_hook(lambda m, i, out: torch.einsum("bld,de->ble", out, mix))
    model.transformer.h[0].mlp.c_fc.register_forward_hook(lambda m, i, out: out.mul_(1.5))
    assert error(kernel(model, [data]).gram, dense_gram(model, data, "token")) < 1e-4


def test_a_wrong_reading_of_a_layer_is_caught(monkeypatch):
    """A layer that is not what its call says falls back to a backward pass a row."""
    model, data = tiny("gpt2"), batch("gpt2")
    truth = dense_gram(model, data, "token")
    right = Capture.gradients

    def wrong(self, outputs):
        right(self, outputs)
        for use in self.uses:
            if use.kind == "linear_t" and use.gradient is not None:
                use.gradient = 1.01 * use.gradient

    monkeypatch.setattr(Capture, "gradients", wrong)
    assert error(kernel(model, [data]).gram, truth) < 1e-4
    monkeypatch.setattr(gram_module, "_check", lambda model, parameters, *rest: (set(), {}))
    assert error(kernel(model, [data]).gram, truth) > 1e-3


def test_random_vectors_estimate_the_average_over_the_vocabulary():
    model, data = tiny("gpt2"), batch("gpt2", examples=3)
    truth = 0
    for v in range(VOCABULARY):
        rows = dense_gradients(model, data, torch.eye(VOCABULARY)[v] - 1 / VOCABULARY)
        truth = truth + (rows @ rows.T).numpy() / VOCABULARY
    few, many = kernel(model, [data], vectors=8), kernel(model, [data], vectors=64)
    off = [np.linalg.norm(k.gram - truth) / np.linalg.norm(truth) for k in (few, many)]
    assert many.standard_error < 0.6 * few.standard_error
    for measured, distance in zip((few, many), off, strict=True):
        assert 0.3 * measured.standard_error < distance < 3 * measured.standard_error
    assert np.isnan(kernel(model, [data]).standard_error)
    assert kernel(model, [data], "pseudo").standard_error == 0


def test_projections_are_unbiased_and_state_their_error():
    model, data = tiny("llama"), batch("llama")
    truth = kernel(model, [data], "pseudo").gram
    draws = [kernel(model, [data], "pseudo", projection=6, seed=seed) for seed in range(20)]
    off = [np.linalg.norm(draw.gram - truth) / np.linalg.norm(truth) for draw in draws]
    stated = [draw.standard_error for draw in draws]
    assert 0.5 < np.mean(off) / np.mean(stated) < 2
    mean = np.mean([draw.gram for draw in draws], axis=0)
    assert np.linalg.norm(mean - truth) / np.linalg.norm(truth) < 2.5 * np.mean(off) / np.sqrt(20)
    both = kernel(model, [data], vectors=4, projection=24)
    assert both.standard_error == pytest.approx(kernel(model, [data], vectors=4).standard_error, rel=1e-3)
    wide = kernel(model, [data], "pseudo", projection=24)
    assert np.allclose(wide.gram, truth, rtol=1e-4, atol=1e-5)
    assert wide.standard_error < 1e-6


def test_the_same_seed_gives_the_same_bytes():
    model, data = tiny("gpt2"), batch("gpt2")
    one, other = (kernel(model, [data], projection=4, tokens=2, vectors=2, seed=3) for _ in range(2))
    assert one.gram.tobytes() == other.gram.tobytes()
    assert np.array_equal(one.index, other.index)


def test_at_most_so_many_tokens_of_an_example():
    model, data = tiny("gpt2"), batch("gpt2")
    everything, some = kernel(model, [data]), kernel(model, [data], tokens=2)
    assert np.unique(some.index[:, 0], return_counts=True)[1].max() == 2
    rows = {tuple(row) for row in everything.index}
    assert all(tuple(row) in rows for row in some.index)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_index_and_residual_belong_to_the_rows(family):
    model, data = tiny(family), batch(family)
    measured = kernel(model, [data])
    residual, row = measured.residual, 0
    from cases import logits_of

    for example, parts in enumerate(zip(data["input_ids"], data["attention_mask"], data["labels"], strict=True)):
        logits, targets = logits_of(model, *parts)
        for place, token in enumerate(targets):
            expected = torch.softmax(logits[place], -1).detach().numpy().astype(float)
            expected[int(token)] -= 1
            assert np.allclose(residual[row], expected, atol=1e-6)
            assert (measured.index[row, 0], measured.index[row, 2]) == (example, int(token))
            row += 1
    scalar = kernel(model, [data], "scalar")
    expected = []
    for parts in zip(data["input_ids"], data["attention_mask"], data["labels"], strict=True):
        logits, targets = logits_of(model, *parts)
        expected.append(torch.log_softmax(logits, -1).gather(1, targets[:, None]).mean().item())
    assert np.allclose(scalar.log_probs, expected, atol=1e-6)
    assert np.allclose(scalar.residual, scalar.log_probs)


def test_saved_and_loaded(tmp_path):
    model, data = tiny("gpt2"), batch("gpt2")
    measured = kernel(model, [data], vectors=2)
    measured.save(tmp_path / "kernel.npz")
    loaded = Kernel.load(tmp_path / "kernel.npz")
    assert loaded.gram.tobytes() == measured.gram.tobytes()
    assert np.array_equal(loaded.index, measured.index)
    assert loaded.standard_error == measured.standard_error
    with np.load(tmp_path / "kernel.npz") as file:
        assert {"gram", "residual", "index"} <= set(file)
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a saved kernel"):
        Kernel.load(tmp_path / "other.npz")


def test_the_model_is_left_as_it_was():
    model, data = tiny("gpt2"), batch("gpt2")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kernel(model, [data])
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_bad_input_is_named():
    model, data = tiny("gpt2"), batch("gpt2")
    masked = {**data, "labels": data["labels"].clone()}
    masked["labels"][2] = -100
    with pytest.raises(InputError, match="example 2 has no label"):
        kernel(model, [masked])
    with pytest.raises(InputError, match="no examples"):
        kernel(model, [])
    with pytest.raises(InputError, match="vectors must be at least 1"):
        kernel(model, [data], vectors=0)
    with pytest.raises(InputError, match="float16"):
        kernel(tiny("gpt2", dtype=torch.float16), [data])
    with pytest.raises(InputError, match="'scalar', 'token' or 'pseudo'"):
        kernel(model, [data], "logits")
    for parameter in model.parameters():
        parameter.requires_grad = False
    with pytest.raises(InputError, match="no parameter requires a gradient"):
        kernel(model, [data])


@pytest.mark.parametrize("output", ["token", "scalar"])
def test_values_that_are_not_finite_are_named(output):
    model, data = tiny("gpt2"), batch("gpt2")
    with torch.no_grad():
        model.transformer.wte.weight[int(data["input_ids"][3, 0])] = torch.inf
    with pytest.raises(InputError, match=r"example [0-9]: the model's logits are not finite"):
        kernel(model, [data], output)


def test_a_gradient_that_is_not_finite_names_layer_and_example():
    model, data = tiny("gpt2"), batch("gpt2")
    token = int(data["input_ids"][4, 0])

    class Spoiled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, out, ids):
            ctx.save_for_backward(ids)
            return out.clone()

        @staticmethod
        def backward(ctx, gradient):
            (ids,) = ctx.saved_tensors
            return torch.where((ids == token)[..., None], torch.nan, gradient), None

    model.transformer.wte.register_forward_hook(lambda m, i, out: Spoiled.apply(out, i[0]))
    with pytest.raises(InputError, match=r"gradient of transformer\.wte\.weight is not finite for example 4"):
        kernel(model, [data])


def test_a_layer_without_a_derivative_is_an_error():
    model, data = tiny("gpt2"), batch("gpt2")
    model.transformer.register_forward_hook(
        lambda m, i, out: type(out)(last_hidden_state=out.last_hidden_state.detach())
    )
    for parameter in model.transformer.parameters():
        parameter.requires_grad = parameter is not model.transformer.wte.weight
    with pytest.raises(InputError, match="carry no gradient"):
        kernel(model, [data])


def test_a_model_that_looks_ahead_is_refused():
    model, data = tiny("gpt2"), batch("gpt2")
    model.transformer.h[0].register_forward_hook(lambda m, i, out: out + out.mean(1, keepdim=True))
    with pytest.raises(InputError, match="depends on later positions"):
        kernel(model, [data])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("examples", [1, 2, 3, 7])
def test_the_shortest_examples(family, examples):
    """Where the number of rows could be taken for a number of positions, or an attention bias for a row."""
    ids = torch.randint(3, VOCABULARY, (examples, 2), generator=torch.Generator().manual_seed(examples))
    mask = torch.ones_like(ids)
    labels = ids.clone()
    if family == "t5":
        mask[::2, 1] = 0
        labels[::3, 1] = -100
    data = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    model = tiny(family)
    for output in ("token", "scalar"):
        assert error(kernel(model, [data], output).gram, dense_gram(model, data, output)) < 1e-4


def test_an_attention_without_the_derivative_is_an_error():
    model, data = tiny("gpt2"), batch("gpt2")

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx, hidden):
            return hidden.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise NotImplementedError("derivative for aten::_fused_attention is not implemented")

    model.transformer.h[0].attn.register_forward_hook(lambda m, i, out: (Fused.apply(out[0]), *out[1:]))
    with pytest.raises(InputError, match=r"without a derivative .*_fused_attention.*attn_implementation='eager'"):
        kernel(model, [data])


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    measured = kernel(tiny("gpt2"), [batch("gpt2")])
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        measured.save(tmp_path / "none" / "kernel.npz")

    def torn(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", torn)
    with pytest.raises(OSError, match="disk full"):
        measured.save(tmp_path / "kernel.npz")
    assert not (tmp_path / "kernel.npz").exists()
