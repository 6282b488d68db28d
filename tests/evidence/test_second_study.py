import json

import numpy as np
import pandas as pd
import pytest
import yaml

from evidence.commands import main
from evidence.second_study.config import STUDY, SecondStudy
from evidence.second_study.estimate import hours_left, work
from evidence.second_study.runs import make_again, run_second_study, stages
from evidence.second_study.table import COLUMNS, MACHINE
from lensllm.errors import InputError

pytestmark = pytest.mark.xdist_group("second_study")


@pytest.fixture(scope="module")
def study(model_folders, sums_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    return SecondStudy(
        design_tasks={str(sums_file): ["exact_match"]},
        report_tasks={},
        models=[str(model_folders["gpt"])],
        methods=[{"method": "full"}, {"method": "lora", "lora_r": 2}],
        small_sizes=[50],
        large_sizes=[100, 6400],
        repeated_sizes=[50],
        repeats=1,
        max_test_examples=10,
        num_train_epochs=1,
        workers=1,
        output_dir=str(folder / "runs"),
        table=str(folder / "table.csv"),
    )


@pytest.fixture(scope="module")
def first(study):
    return run_second_study(study)


def test_models_are_crossed_with_methods_and_scored_at_every_size(first):
    wanted = [(0, 0), (50, 0), (100, 0), (50, 1)]
    for candidate, method, rank in (("gpt full", "full", 0), ("gpt lora r2", "lora", 2)):
        mine = first[first["candidate"] == candidate]
        assert sorted(zip(mine["seed"], mine["examples"], strict=True)) == sorted((s, n) for n, s in wanted)
        assert set(mine["method"]) == {method}
        assert set(mine["lora_r"]) == {rank}
    assert set(first["status"]) == {"done"}
    assert set(first["model"]) == {"gpt"}
    assert all(json.loads(scores)["exact_match"]["examples"] >= 10 for scores in first["scores"])
    zero = first[first["examples"] == 0]
    assert zero["nats_per_byte"].nunique() == 1
    assert (zero["flops"] > 0).sum() == 1


def test_a_table_is_enough_to_go_on_from(study, first, tmp_path):
    told = []
    elsewhere = study.model_copy(update={"output_dir": str(tmp_path / "another machine")})
    pd.testing.assert_frame_equal(first, run_second_study(elsewhere, lambda task, run: told.append(run)))
    assert told == []
    cut = tmp_path / "cut.csv"
    first[first["examples"] < 100].to_csv(cut, index=False)
    cut_study = elsewhere.model_copy(update={"table": str(cut), "output_dir": str(tmp_path / "cut")})
    again = run_second_study(cut_study, lambda task, run: told.append(run.examples))
    assert told == [100, 100]
    same = [column for column in COLUMNS if column not in MACHINE]
    pd.testing.assert_frame_equal(first[same], again[same], check_exact=True)


def test_any_row_can_be_made_again_bit_for_bit(study, first, tmp_path):
    rows = first[(first["candidate"] == "gpt lora r2") & ((first["examples"] == 100) | (first["seed"] == 1))]
    for row in rows.itertuples():
        new, differing = make_again(study, row.key)
        assert differing == []
        assert new["nats_per_byte"] == row.nats_per_byte
    wrong = first.assign(nats_per_byte=np.nextafter(first["nats_per_byte"], 9))
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    _, differing = make_again(study.model_copy(update={"table": str(tmp_path / "wrong.csv")}), rows["key"].iloc[0])
    assert differing == ["nats_per_byte"]
    with pytest.raises(InputError, match=r"0 rows of .* have a key that begins with 'none'"):
        make_again(study, "none")


def test_a_table_that_is_something_else_is_left_alone(study, tmp_path):
    other = tmp_path / "table.csv"
    other.write_text("candidate,loss\ngpt,1.0\n")
    with pytest.raises(InputError, match=r"is not the second study's table, it has no column"):
        run_second_study(study.model_copy(update={"table": str(other)}))
    assert other.read_text() == "candidate,loss\ngpt,1.0\n"


def test_what_is_left_is_told_from_what_was_measured():
    study = SecondStudy.read(STUDY)
    costs = work(study, 2315)
    assert max(costs) == (1600, 0)
    assert {size for size, seed in costs if seed} == {50, 200, 800}
    assert costs[50, 0] == pytest.approx(3 * 3 * 50 + 1000 / 3)
    assert costs[200, 2] == pytest.approx(3 * 200 + 1000 / 3)
    rows = [{"task": "a", "candidate": "x", "examples": 0, "seed": 0, "seconds": 1000 / 3, "flops": 1.0}]
    per_candidate = sum(costs.values())
    assert hours_left(study, rows, {"a": 2315}) == pytest.approx((24 * per_candidate - 1000 / 3) / 3600)
    assert np.isnan(hours_left(study, [], {"a": 2315}))


def test_the_shipped_study_is_24_candidates_on_6_tasks_in_an_order_that_is_useful_in_part():
    study = SecondStudy.read(STUDY)
    for source, scores in study.tasks.items():
        asked = study.select_config(source)
        assert len(asked.asked()) == 24
        assert asked.score == scores
    order = stages(study)
    design, report = list(study.design_tasks), list(study.report_tasks)
    assert [one[0] for one in order] == [*design, *design, *report, *report, *design, *report]
    assert [large for _, large, _ in order[:6]] == [False] * 3 + [True] * 3
    assert [repeated for *_, repeated in order] == [False] * 12 + [True] * 6


def test_the_command_says_what_is_left_and_makes_a_row_again(study, first, tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study.model_dump()))
    for arguments, code in (([str(path), "--estimate"], 0), ([str(tmp_path / "none.yaml")], 2)):
        with pytest.raises(SystemExit) as stopped:
            main(["second-study", *arguments])
        assert stopped.value.code == code
    said = capsys.readouterr()
    assert "about 0.0 hours of one process are left, at the speed so far" in said.err
    assert "no such study" in said.err
