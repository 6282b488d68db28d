"""Settings in YAML: names and plain values, anything else is one sentence, and at once."""

import time

import pytest
from commands import refused

BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: a", "1 is no name of an option"),
        ("null: a", "None is no name of an option"),
        ("[a]: b", "not valid YAML"),
        ("sizes: " + "[" * 20_000 + "]" * 20_000, "nested more than 20 deep"),
        ("".join(" " * i + f"a{i}:\n" for i in range(200)), "nested more than 20 deep"),
        (BOMB + "sizes: *j", "anchors and aliases are not read"),
        ("seed: 1\nseed: 2", "'seed' is given twice"),
        (f"seed: {2**64}", "option 'seed': input should be less than 4294967296"),
        ("per_device_train_batch_size: 10000000000", "option 'per_device_train_batch_size'"),
        ("num_train_epochs: 1000000000000", "option 'num_train_epochs'"),
        ("seed: " + "1" * 5000, "not valid YAML"),
        ("budget: .inf", "option 'budget'"),
        ("budget: .nan", "option 'budget'"),
        ("sizes: [" + "x," * 5000 + "]", "option 'sizes.0'"),
        ("seed: \x00", "not valid YAML"),
        ("- a", "must hold names and values, got list"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_what_no_setting_is(tmp_path, capsys, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    started = time.monotonic()
    told = refused(capsys, "select", "define", path, "--models", "gpt2-0.2m-random")
    assert message in told
    assert len(told) < 1500
    assert time.monotonic() - started < 10
