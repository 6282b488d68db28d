"""Our own curves scored: on a made-up study whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from evidence.accuracy import own, own_page
from evidence.commands import main
from evidence.cost import cost
from evidence.study import bounds as study_bounds
from evidence.study.config import StudyConfig
from evidence.study.curves import own_curves, seed_noise
from evidence.study.probes import LAST
from evidence.study.runs import COLUMNS
from evidence.theory.own_bounds import own_bounds
from lensllm.errors import InputError
from lensllm.selectors.error_scale import CANDIDATE, COMMON

SIZES = [50, 100, 200, 400, 800, 1600, 3200, 6400]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Ten candidates whose curves are power laws that cross, on two design tasks and half a report task."""
    monkeypatch.setattr(own, "POOLS", 2)
    drawn = cost.random_subsets
    monkeypatch.setattr(cost, "random_subsets", lambda candidates, size, _, seed: drawn(candidates, size, 2, seed))
    rows = []
    models = [f"gpt2-{i}" for i in range(10)]
    for task, scale in (("easy", 1.0), ("hard", 2.0), ("late", 3.0)):
        for i, model in enumerate(models):
            level, slope = 1 + 0.04 * i, 0.01 + 0.012 * i
            for size in [0, *SIZES] if task != "late" or i < 9 else SIZES:
                loss = scale * level * (max(size, 25) / 50) ** -slope
                rows.append({"task": task, "candidate": model, "examples": size, "seed": 0, "nats_per_byte": loss})
                rows[-1] |= {"parameters": 1000 * (i + 1), "status": "done"}
                rows[-1]["flops"] = max(size, 50) * (i + 1.0)
            rows.append({**rows[-1], "examples": 200, "seed": 1, "nats_per_byte": 99.0})
    pd.DataFrame(rows).reindex(columns=COLUMNS).to_csv(tmp_path / "runs.csv", index=False)
    return StudyConfig(
        design_tasks=["easy", "hard", "never run"],
        report_tasks=["late"],
        models=models,
        sizes=SIZES,
        output_dir=str(tmp_path),
        table=str(tmp_path / "runs.csv"),
    )


def test_only_complete_tasks_and_the_first_seed_are_read(study):
    curves = own_curves(study, study.design_tasks)
    assert list(curves) == ["easy", "hard"]
    assert curves["hard"].losses.max() < 3
    assert list(curves["easy"].features["size"]) == [1000 * (i + 1) for i in range(10)]
    with pytest.raises(InputError, match=r"holds none of the tasks late complete: go on with the study"):
        own_curves(study, study.report_tasks)


def test_a_candidate_with_a_run_that_diverged_is_left_out_of_its_task(study):
    table = pd.read_csv(study.table)
    table.loc[(table["task"] == "hard") & (table["candidate"] == "gpt2-3") & (table["examples"] == 800), "status"] = (
        "diverged"
    )
    table.to_csv(study.table, index=False)
    curves = own_curves(study, study.design_tasks)
    assert len(curves["easy"].candidates) == 10
    assert "gpt2-3" not in curves["hard"].candidates
    assert len(curves["hard"].candidates) == 9
    assert list(curves["hard"].features["size"]) == [1000 * (i + 1) for i in range(10) if i != 3]


def test_seed_noise_is_half_the_mean_square_of_the_difference(study):
    table = pd.read_csv(study.table)
    again = table["seed"] == 1
    first = table[(table["seed"] == 0) & (table["examples"] == 200)].set_index(["task", "candidate"])["nats_per_byte"]
    pairs = list(zip(table["task"], table["candidate"], strict=True))
    table.loc[again, "nats_per_byte"] = [
        first[pair] * np.exp(0.02) for pair, twice in zip(pairs, again, strict=True) if twice
    ]
    table.to_csv(study.table, index=False)
    assert seed_noise(study, "easy") == {200: pytest.approx(0.02 / np.sqrt(2))}
    assert seed_noise(study, "never run") == {}


def test_selectors_that_need_probes_are_scored_where_every_candidate_was_probed(study, tmp_path):
    assert "kernel_only" not in own.run(study)["methods"]
    rows = []
    for task in ("easy", "hard"):
        for i, model in enumerate(study.models):
            zero = 1 + 0.04 * i
            rows.append(
                {"task": task, "candidate": model, "examples": 64, "status": "done", "zero_shot_probe_loss": zero}
            )
            rows[-1] |= {f"kernel_{d}": zero * (1 - d / 1000) for d in (8, 16, 32)} | {"pl_alpha": 3.0 - i / 10}
            rows[-1] |= dict.fromkeys(LAST, 0)
    pd.DataFrame(rows).to_csv(tmp_path / "probes.csv", index=False)
    result = own.run(study.model_copy(update={"probes_table": str(tmp_path / "probes.csv")}))
    assert result["methods"]["kernel_only"]["rel_acc"]["mean"] < 50
    assert result["methods"]["nlp_metrics"]["rel_acc"]["mean"] == pytest.approx(100)
    assert set(result["kernel"]["rel_acc"]["by_task"]) == {"easy", "hard"}


def test_a_forecast_beats_the_last_loss_where_curves_cross(study):
    result = own.run(study)
    methods = result["methods"]
    assert methods["growing_slopes"]["pearcorr"]["mean"] > 99
    assert methods["growing_slopes"]["rel_acc"]["mean"] == pytest.approx(100)
    assert methods["sub_tuning"]["rel_acc"]["mean"] < 90
    gap = result["against"]["sub_tuning"]["rel_acc"]
    assert gap["mean"] == pytest.approx(100 - methods["sub_tuning"]["rel_acc"]["mean"])
    assert set(gap["by_task"]) == {"easy", "hard"}
    assert result["calibration"]["brier"]["p_best"] < result["calibration"]["brier"]["softmax"]
    assert result["cost"]["tasks"] == ["easy", "hard"]
    assert result["cost"]["reach"]["99@80%"]["full"]["hindsight"]["cost"] > 1


def test_the_section_shows_what_was_measured(study, tmp_path, monkeypatch):
    monkeypatch.setattr(own_page, "write_figures", lambda folder, figures: shown.update(figures))
    shown = {}
    result = own.run(study, docs=tmp_path)
    page = (tmp_path / "evidence.md").read_text()
    assert f"| {result['methods']['sub_tuning']['regret']['mean']:.4f} |" in page
    assert "written by `python -m evidence own --docs docs`" in page
    assert len(shown["own_curves_design"].data) == 2 * 10
    assert len(shown["own_forecasts_design"].data) == 2 * 2
    reliability = result["calibration"]["reliability"]
    assert sum(b["cases"] for b in reliability) == 2 * len(own.BUDGETS) * (10 + 8 * own.POOLS)
    assert all(0 <= b["was_best"] <= 1 for b in reliability)


def test_bounds_are_summed_up_by_task(study, tmp_path):
    assert own_bounds(study, ["easy"]) == {}
    rows = []
    for n, gap, curvature in ((50, 0.3, 0.9), (100, 0.2, 0.5), (200, 0.1, 0.7)):
        row = dict.fromkeys(study_bounds.COLUMNS, 0.0) | {"task": "easy", "candidate": "a", "examples": n}
        row |= {
            "status": "done",
            "train_loss": 1 - gap,
            "test_loss": 1.0,
            "gap": gap,
            "curvature": curvature,
            "bound": 5 - n / 25,
        }
        rows.append(
            row | {"largest_loss": 4.0, "flops": 2.0, "run_flops": 4.0, "distance": -n, "sum_sqrt_h": n, "key": n}
        )
    rows += [row | {"task": "hard", "key": f"hard {row['key']}"} for row in rows]
    rows.append(rows[0] | {"status": "failed", "bound": None, "key": "x"})
    pd.DataFrame(rows).to_csv(tmp_path / "bounds.csv", index=False)
    bounded = study.model_copy(update={"bounds_table": str(tmp_path / "bounds.csv")})
    found = own_bounds(bounded, ["easy", "late"])
    assert list(found) == ["easy"]
    told = {name: found["easy"][name] for name in ("runs", "above_the_test_loss", "below_the_largest_loss")}
    assert told == {"runs": 3, "above_the_test_loss": 2, "below_the_largest_loss": 3}
    assert 0 <= found["easy"]["above_without_curvature"] <= 3
    assert found["easy"]["union_bound"] > 0
    assert (found["easy"]["over_test_loss"], found["easy"]["flops_over_the_run"]) == (1.0, 0.5)
    with_gap = found["easy"]["spearman_with_the_gap"]
    assert with_gap["1 / sqrt(n)"] == pytest.approx(1)
    assert with_gap["sqrt(C) sum sqrt(h) / sqrt(n)"] == pytest.approx(0.5)
    assert with_gap["distance / sqrt(n)"] == pytest.approx(1)
    page = own_page.text(own.run(bounded), own_curves(bounded, bounded.design_tasks))
    assert "| easy | 3 | 2 | " in page
    assert " | 0.50 | 0.50 |" in page


def test_log_errors_are_split_into_what_all_share_and_the_rest():
    found = own.log_error([np.array([0.1, 0.3]), np.array([-0.1, -0.3])])
    assert found == pytest.approx({"common": 0.2, "own": 0.1})


def test_the_default_error_scales_are_those_of_the_published_and_the_design_tasks():
    root = Path(__file__).parents[2] / "evidence" / "study"
    study = StudyConfig.read(root / "study.yaml").model_copy(update={"table": str(root / "runs.csv")})
    data = own_curves(study, study.design_tasks)
    for released, found in zip((COMMON, CANDIDATE), own.error_scales(data), strict=True):
        assert released.sd == pytest.approx(found.sd, rel=0.02)
        assert released.inflation == pytest.approx(found.inflation, rel=0.05)
    without = own.error_scales(data, without="section")
    assert without[1].sd != pytest.approx(CANDIDATE.sd, rel=0.05)


def test_pools_are_the_whole_and_random_parts():
    drawn = own.pools(13)
    assert list(drawn[0]) == list(range(13))
    assert len(drawn) == 1 + own.POOLS
    assert all(len(np.unique(rows)) == own.POOL_SIZE for rows in drawn[1:])


def test_the_command_prints_and_writes(study, tmp_path, capsys):
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(study.model_dump()))
    with pytest.raises(SystemExit) as stopped:
        main(["own", "--study", str(config), "--json", str(tmp_path / "own.json")])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "design tasks: easy, hard" in said
    written = json.loads((tmp_path / "own.json").read_text())
    assert {"mean", "ci", "by_task"} <= set(written["methods"]["accept_then_stop"]["regret"])
    with pytest.raises(SystemExit) as stopped:
        main(["own", "--report", "--study", str(config), "--json", str(tmp_path / "report.json")])
    assert stopped.value.code == 2
