import numpy as np
import pandas as pd
import pytest
import yaml

from evidence.commands import main
from evidence.study import bounds as study_bounds
from evidence.study.bounds import run_study_bounds
from evidence.study.config import StudyConfig
from evidence.study.probes import run_study_probes
from evidence.study.runs import COLUMNS, run_study
from lensllm.candidates import Full
from lensllm.errors import InputError
from lensllm.execution import InProcess


@pytest.fixture
def study(model_folders, sums_file, tmp_path):
    return StudyConfig(
        design_tasks=[str(sums_file)],
        report_tasks=[],
        models=[str(model_folders["gpt"])],
        sizes=[50, 100, 6400],
        repeated_sizes=[100],
        max_test_examples=10,
        num_train_epochs=1,
        output_dir=str(tmp_path / "runs"),
        table=str(tmp_path / "table.csv"),
    )


def test_every_row_can_be_made_again_bit_for_bit(study, tmp_path):
    first = run_study(study)
    assert [(row.examples, row.seed) for row in first.itertuples()] == [(0, 0), (50, 0), (100, 0), (100, 1)]
    assert set(first["status"]) == {"done"}
    assert list(pd.read_csv(study.table).columns) == COLUMNS
    assert first["nats_per_byte"].nunique() == 4
    resumed = run_study(study)
    pd.testing.assert_frame_equal(first, resumed)
    another = study.model_copy(update={"output_dir": str(tmp_path / "another machine")})
    pd.testing.assert_frame_equal(first, run_study(another))
    elsewhere = study.model_copy(
        update={"output_dir": str(tmp_path / "anew"), "table": str(tmp_path / "anew.csv"), "workers": 1}
    )
    same = [column for column in COLUMNS if column != "seconds"]
    pd.testing.assert_frame_equal(first[same], run_study(elsewhere)[same])


def test_a_study_is_read_from_yaml(study, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study.model_dump()))
    assert StudyConfig.read(path) == study
    path.write_text("tasks: [a]")
    with pytest.raises(InputError, match=r"study.yaml is not a study: .*design_tasks"):
        StudyConfig.read(path)
    with pytest.raises(InputError, match="no such study"):
        StudyConfig.read(tmp_path / "none.yaml")


def test_a_table_that_is_something_else_is_left_alone(study, tmp_path):
    (tmp_path / "table.csv").write_text("candidate,loss\ngpt,1.0\n")
    with pytest.raises(InputError, match=r"table.csv is not a study's table, it has no column"):
        run_study(study)
    assert (tmp_path / "table.csv").read_text() == "candidate,loss\ngpt,1.0\n"


def test_probes_have_a_table_of_their_own_that_is_enough_to_go_on_from(study, tmp_path):
    study = study.model_copy(update={"probes_table": str(tmp_path / "probes.csv")})
    first = run_study_probes(study)
    assert (first["candidate"].tolist(), first["status"].tolist()) == (["gpt"], ["done"])
    assert {"kernel_8", "kernel_8_se", "effective_rank", "remaining_10", "flops"} <= set(first)
    elsewhere = study.model_copy(update={"output_dir": str(tmp_path / "another machine")})
    told = []
    pd.testing.assert_frame_equal(first, run_study_probes(elsewhere, lambda task, probe: told.append(probe)))
    assert told == []
    (tmp_path / "probes.csv").write_text("candidate,loss\ngpt,1.0\n")
    with pytest.raises(InputError, match=r"probes.csv is not a table of probes, it has no column"):
        run_study_probes(study)


def test_bounds_belong_to_the_runs_of_the_same_size(study, tmp_path):
    study = study.model_copy(
        update={
            "bounds_table": str(tmp_path / "bounds.csv"),
            "bounded_models": study.models,
            "bounded_sizes": [50, 100, 6400],
        }
    )
    first = run_study_bounds(study)
    assert (first["examples"].tolist(), first["status"].tolist()) == ([50, 100], ["done", "done"])
    runs = run_study(study).query("seed == 0 and examples > 0")
    assert first["learning_rate"].tolist() == runs["learning_rate"].tolist()
    assert first["run_flops"].tolist() == runs["flops"].tolist()
    np.testing.assert_allclose(first["test_loss"], runs["nats_per_byte"], rtol=1e-3)
    assert (first["bound"] > first["test_loss"]).all()
    told = []
    pd.testing.assert_frame_equal(first, run_study_bounds(study, lambda task, row: told.append(row)))
    assert told == []


def test_a_ladder_without_a_bound_says_why(study, tmp_path, monkeypatch):
    """A learning rate of 0 moves no weight, so there is no displacement at any size."""
    still = {"bounds_table": str(tmp_path / "bounds.csv"), "bounded_models": study.models, "bounded_sizes": [50, 100]}
    monkeypatch.setattr(Full, "base_learning_rate", lambda self, parameters: 0.0)
    monkeypatch.setattr(study_bounds, "Processes", lambda workers, threads: InProcess())
    rows = run_study_bounds(study.model_copy(update=still)).to_dict("records")
    assert [(row["examples"], row["status"]) for row in rows] == [(50, "failed"), (100, "failed")]
    assert all("the tuned weights equal the pre-trained ones" in row["error"] for row in rows)


def test_the_command_makes_all_three_tables(study, tmp_path, capsys):
    tables = {"probes_table": str(tmp_path / "probes.csv"), "bounds_table": str(tmp_path / "bounds.csv")}
    study = study.model_copy(update=tables | {"sizes": [50], "bounded_models": study.models, "bounded_sizes": [50]})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study.model_dump()))
    with pytest.raises(SystemExit) as stopped:
        main(["study", str(path)])
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert [line.split()[:2] for line in said.out.splitlines()] == [["1", "probes"], ["2", "runs"], ["1", "bounds"]]
    assert "gpt on 50 bounded: done" in said.err
