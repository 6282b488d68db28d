"""What W&B, MLflow, TensorBoard and trackio keep becomes curves."""

import sys
import types

import pytest

from lensllm.curve_sources import HowRead, read_histories
from lensllm.curves import Curves
from lensllm.errors import InputError
from tests.curve_sources.runs_elsewhere import state, trained

PANEL = """"Step","small-50 - eval/loss","small-50 - eval/loss__MIN","small-50 - eval/loss__MAX","big-50 - eval/loss"
"0","3.0","3.0","3.0",""
"10","2.0","2.0","2.0","2.5"
"20","1.5","1.5","1.5","2.25"
"""
W_AND_B = """"Name","State","eval/loss","train/train_runtime","train/train_samples_per_second","num_train_epochs","seed"
"a-50","finished","1.5","3","50","3","0"
"a-100","finished","1.4","6","50","3","0"
"b-50","crashed","9.5","","","3","0"
"b-100","finished","1.7","6","50","3","1"
"""
ML_FLOW = """Start Time,Duration,Run ID,Name,Source Type,User,Status,num_train_epochs,train_samples,eval_loss
2026-11-01,1min,1f0,a-50,LOCAL,me,FINISHED,3,50,1.5
2026-11-01,1min,2f0,a-100,LOCAL,me,FINISHED,3,100,1.4
2026-11-01,1min,3f0,b-100,LOCAL,me,FAILED,3,100,
"""
SEARCHED = """run_id,status,metrics.eval_loss,metrics.train_samples,params.seed,tags.mlflow.runName
1f,FINISHED,1.5,50,0,a-50
2f,FINISHED,1.4,100,0,a-100
"""
LIGHTNING = """epoch,step,train_loss,val_loss
0,9,2.5,
0,9,,2.0
1,19,,1.5
"""
NAMES = HowRead(run_names="{candidate}-{examples}")


def written(tmp_path, text, name="export.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_panel_of_wandb(tmp_path):
    curves = Curves.read(written(tmp_path, PANEL), NAMES)
    assert curves.candidates == ("small", "big")
    assert curves.sizes.tolist() == [0, 50]
    assert curves.losses[0].tolist() == [3.0, 1.5]
    assert curves.losses[1, 1] == 2.25


def test_a_panel_does_not_say_sizes(tmp_path):
    with pytest.raises(InputError, match="run small-50 does not say how many examples"):
        Curves.read(written(tmp_path, PANEL))


@pytest.mark.parametrize("text", [W_AND_B, ML_FLOW, SEARCHED])
def test_tables_of_runs(tmp_path, text):
    curves = Curves.read(written(tmp_path, text), HowRead(run_names="{candidate}-*"))
    assert curves.candidates[0] == "a"
    assert curves.sizes.tolist() == [50, 100]
    assert curves.losses[0].tolist() == [1.5, 1.4]


def test_a_run_that_crashed_is_left_out_by_name(tmp_path):
    notes = Curves.read(written(tmp_path, W_AND_B), NAMES).notes
    assert any("export.csv row 4 has not ended, it crashed" in note for note in notes)


def test_a_history_of_one_run(tmp_path):
    file = written(tmp_path, LIGHTNING)
    (one,), _ = read_histories(str(file))
    assert one.metric("") == "val_loss"
    curves = Curves.read(file, HowRead(examples={"export": 80}))
    assert (curves.sizes.tolist(), curves.losses.tolist()) == ([80], [[1.5]])


def test_a_cell_that_is_no_number(tmp_path):
    with pytest.raises(InputError, match=r"export.csv row 2: 'eval/loss' is 'low', expected a number"):
        Curves.read(written(tmp_path, W_AND_B.replace('"1.5"', '"low"')))


def test_two_runs_of_one_name(tmp_path):
    with pytest.raises(InputError, match="names two runs 'a-50' in column 'Name'"):
        Curves.read(written(tmp_path, W_AND_B.replace("a-100", "a-50")))


def test_our_own_tables_are_read_as_before(tmp_path):
    own = written(tmp_path, "candidate,examples,loss,eval_loss\na,50,1.5,1\na,100,1.4,1\n")
    assert Curves.read(own).losses.tolist() == [[1.5, 1.4]]
    with pytest.raises(InputError, match="is a table of losses: leave out"):
        Curves.read(own, NAMES)


def test_tensorboard(tmp_path, model_folders):
    pytest.importorskip("tensorboard")
    for size in (16, 50):
        run = tmp_path / "gpt" / str(size)
        trainer = trained(model_folders["gpt"], run, size, report_to=["tensorboard"], save_strategy="no")
    curves = Curves.read(tmp_path)
    assert (curves.candidates, curves.sizes.tolist()) == (("gpt",), [16, 50])
    logged = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert curves.losses[0, 1] == pytest.approx(logged[-1])
    events = next(run.rglob("*tfevents*"))
    assert Curves.read(events).sizes.tolist() == [50]


def test_a_state_is_read_before_events(tmp_path, model_folders):
    pytest.importorskip("tensorboard")
    trained(model_folders["gpt"], tmp_path / "a", 16, report_to=["tensorboard"]).save_state()
    curves = Curves.read(tmp_path)
    assert curves.sizes.tolist() == [16]
    assert any("trainer_state.json are read, TensorBoard events beside them are not" in note for note in curves.notes)


def test_without_tensorboard_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    written(tmp_path, "", "events.out.tfevents.1")
    with pytest.raises(InputError, match="pip install tensorboard"):
        Curves.read(tmp_path)


def test_trackio(tmp_path, model_folders, monkeypatch):
    trackio = pytest.importorskip("trackio")
    for module in (trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    tracked = {"report_to": ["trackio"], "project": "mine", "save_strategy": "no"}
    for size in (16, 50):
        trained(model_folders["gpt"], tmp_path / "run", size, run_name=f"gpt-s0-{size}", **tracked)
    how = HowRead(run_names="{candidate}-s{seed}-{examples}")
    curves = Curves.read("trackio:mine", how)
    assert (curves.candidates, curves.sizes.tolist()) == (("gpt",), [16, 50])
    assert Curves.read(tmp_path / "trackio" / "mine.db", how).losses.tolist() == curves.losses.tolist()
    with pytest.raises(InputError, match="run gpt-s0-50 does not say how many examples"):
        Curves.read("trackio:mine/gpt-s0-50")
    with pytest.raises(InputError, match="has no such run"):
        Curves.read("trackio:mine/other")
    with pytest.raises(InputError, match=r"no project 'yours'.*there is mine"):
        Curves.read("trackio:yours")


def test_a_file_that_is_no_project(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a project of trackio"):
        Curves.read(written(tmp_path, "no base", "mine.db"))


def test_folders_of_mlflow(tmp_path):
    run = tmp_path / "mlruns" / "1" / "f00"
    for folder, file, text in (
        ("metrics", "eval_loss", "1700000000000 2.0 10\n1700000001000 1.5 20\n"),
        ("metrics", "train_runtime", "1700000001000 3.0 20\n"),
        ("metrics", "train_samples_per_second", "1700000001000 50.0 20\n"),
        ("params", "num_train_epochs", "3"),
        ("tags", "mlflow.runName", "small"),
    ):
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / file).write_text(text)
    (run / "meta.yaml").write_text("run_id: f00\n")
    curves = Curves.read(tmp_path / "mlruns")
    assert (curves.candidates, curves.sizes.tolist(), curves.losses.tolist()) == (("small",), [50], [[1.5]])
    (run / "metrics" / "eval_loss").write_text("now low\n")
    with pytest.raises(InputError, match="eval_loss line 1: 'now low' is not 'time value step'"):
        Curves.read(tmp_path / "mlruns")


def test_mlflow_itself(tmp_path, model_folders, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    for size in (16, 50):
        trained(model_folders["gpt"], tmp_path / "run", size, report_to=["mlflow"], run_name=f"gpt-{size}")
        mlflow.end_run()
    curves = Curves.read(tmp_path / "mlruns", HowRead(run_names="{candidate}-*"))
    assert (curves.candidates, curves.sizes.tolist()) == (("gpt",), [16, 50])


def test_wandb_by_its_package(monkeypatch):
    run = types.SimpleNamespace(
        name="a-50",
        state="finished",
        config={"seed": 3},
        summary={"train/train_runtime": 3.0, "train/train_samples_per_second": 50.0, "train/epoch": 3},
        scan_history=lambda: iter([{"_step": 0, "eval/loss": 2.0}, {"_step": 9, "eval/loss": 1.5, "note": "x"}]),
    )
    api = types.SimpleNamespace(runs=lambda path: [run], run=lambda path: run)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(Api=lambda: api))
    curves = Curves.read("wandb:me/mine")
    assert (curves.sizes.tolist(), curves.losses.tolist()) == ([0, 50], [[2.0, 1.5]])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="pip install wandb, or export a CSV"):
        Curves.read("wandb:me/mine")


def test_a_broken_run_of_a_folder_is_named(tmp_path):
    state(tmp_path / "a", examples=50)
    file = tmp_path / "a" / "trainer_state.json"
    file.write_text("[1]")
    with pytest.raises(InputError, match=r"a/trainer_state.json is no object of JSON"):
        Curves.read(tmp_path)
