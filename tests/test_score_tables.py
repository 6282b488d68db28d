"""Tables of scores are read as tables of losses are: as meant, or refused with row and column."""

import json

import numpy as np
import pytest
from commands import refused, run

from lensllm.curve_tables import written_name
from lensllm.errors import InputError
from lensllm.objectives import Between
from lensllm.score_forecast import read_scores

SIZES = (50, 100, 200, 1000)
SCORES = {"oak": (0.4, 0.5, 0.6, 0.7), "elm": (0.5, 0.52, 0.55, 0.57)}
EXACT = Between("exact_match")


def tidy(header="candidate,examples,score", write=str, size=str, extra=()):
    rows = [
        f"{name},{size(n)},{write(value)}"
        for name, values in SCORES.items()
        for n, value in zip(SIZES, values, strict=True)
    ]
    return "\n".join([header, *rows, *extra]) + "\n"


def percent(value):
    return f"{100 * value:g}%"


@pytest.fixture
def read(tmp_path):
    def read(text, objective=EXACT):
        (tmp_path / "s.csv").write_text(text)
        return read_scores(tmp_path / "s.csv", objective)

    return read


def backwards(text):
    header, *rows = text.splitlines()
    return "\n".join([header, *reversed(rows)]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        tidy(),
        tidy("Candidate, Examples , Score"),
        tidy("model,n,value"),
        tidy("candidate,examples,value,metric", lambda value: f"{value},accuracy"),
        tidy("candidate,examples,value,score", lambda value: f"{value},accuracy"),
        tidy().replace(",", ";").replace(".", ","),
        tidy().replace(",", "\t"),
        tidy().replace("oak", " oak "),
        tidy(size=lambda n: f"{n / 1000:g}k"),
        tidy(size=lambda n: f'"{n:,}"'),
        tidy(size=lambda n: f"{n}.0"),
        tidy(write=percent),
        tidy().replace("0.57", "57%"),
        tidy(extra=["elm,2000,", "oak,2000,n/a"]),
        tidy(extra=["oak,50,0.4"]),
        "candidate,50,100,200,1k\n" + "".join(f"{n},{','.join(map(str, v))}\n" for n, v in SCORES.items()),
        "candidate,1000,50,200,100\n" + "".join(f"{n},{v[3]},{v[0]},{v[2]},{v[1]}\n" for n, v in SCORES.items()),
    ],
)
def test_spellings_of_a_table_are_read_alike(read, text):
    for one in (text, backwards(text)):
        made = read(one)
        assert made.sizes.tolist() == list(SIZES)
        assert {n: made.of([n]).losses[0].tolist() for n in made.candidates} == {n: list(v) for n, v in SCORES.items()}


def test_percentages_are_of_the_scale_and_said(read):
    as_parts, as_percent = read(tidy(write=percent)), read(tidy(write=percent), Between("s", ceiling=100.0))
    assert as_percent.losses == pytest.approx(100 * as_parts.losses)
    assert as_parts.notes == ("percentages are read on the scale up to 1: 40% is 0.4",)
    assert as_percent.notes == ("percentages are read on the scale up to 100: 40% is 40",)
    assert read(tidy()).notes == ()


def test_a_point_that_is_missing_is_missing_and_no_0(read):
    made = read("candidate,50,100,200\noak,0.4,,0.6\nelm,0.5,-,0.55\nfir,,,\n")
    assert made.sizes.tolist() == [50, 200]
    assert np.isnan(made.of(["fir"]).losses).all()
    assert made.notes == ("nothing was measured of fir",)


def test_what_is_averaged_or_left_out_is_said(read, tmp_path, capsys):
    text = tidy(extra=["oak,50,0.44", "elm,2000,", "oak,100,0.5"])
    made = read(text)
    assert made.of(["oak"]).at(50) == pytest.approx([0.42])
    file = tmp_path / "s.csv"
    told = [
        "the mean is taken where a point was measured more than once, at 1 point",
        f"{file}: oak at 50 examples has the scores 0.4 (row 2), 0.44 (row 10), 0.04 apart",
        "rows that repeat a measurement count once (1 left out)",
        "1 row without a score left out (row 11)",
    ]
    assert list(made.notes) == told
    asked = (file, "--target-size", 4000)
    printed = run(capsys, "forecast", *asked, "--scores")
    planned = run(capsys, "plan", *asked, "--target-score", 0.9)
    for note in told:
        assert f"note: {note}" in printed.replace("\n", " ")
        assert f"note: {note}" in planned.replace("\n", " ")
    assert json.loads(run(capsys, "forecast", *asked, "--scores", "--json"))["notes"] == told
    assert json.loads(run(capsys, "plan", *asked, "--target-score", 0.9, "--json"))["notes"] == told


def test_seeds_may_be_far_apart(read):
    rows = [f"oak,50,{value},{seed}" for value, seed in ((0.2, 1), (0.8, 2))]
    assert read("\n".join(["candidate,examples,score,seed", *rows])).at(50) == pytest.approx([0.5])


def test_standard_errors_are_in_the_unit_of_the_scores(read):
    rows = ["oak,50,61%,3%", "oak,100,65%,", "oak,50,63%,2%"]
    made = read("\n".join(["candidate,examples,score,Standard_Error", *rows]))
    assert made.standard_errors[0].tolist() == pytest.approx([0.025, np.nan], nan_ok=True)
    assert made.losses[0].tolist() == pytest.approx([0.62, 0.65])


def test_models_and_methods_of_candidates_are_kept(read):
    made = read("candidate,examples,score,model,method\na,50,0.5,m,lora\na,100,0.6,m,lora\nb,50,0.4,m,full\n")
    assert (made.models, made.methods) == (("m", "m"), ("lora", "full"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (tidy(extra=["fir,50,61"]), "row 10: the score 61 is not between 0 and 1 (column 'score'): give --floor"),
        (tidy(extra=["fir,50,161%"]), "row 10: the score 161% is not between 0 and 1"),
        (tidy(extra=["fir,50,inf"]), "row 10: the score inf is not between 0 and 1"),
        (tidy(extra=["fir,50,-0.1"]), "row 10: the score -0.1 is not between 0 and 1"),
        (tidy(extra=["fir,50,good"]), "row 10: 'score' is 'good', expected a number"),
        (tidy(extra=["fir,50,True"]), "row 10: 'score' is 'True', expected a number"),
        (tidy(extra=['fir,50,"0,61"']), "row 10: 'score' is '0,61': write a decimal point"),
        (tidy(extra=["fir,50,0,61"]), "row 10 has 4 cells, the header 3"),
        (tidy(extra=["fir,50"]), "row 10 has 2 cells, the header 3"),
        (tidy(extra=[",50,0.6"]), "row 10: 'candidate' is empty"),
        (tidy(extra=["fir,50.5,0.6"]), "row 10: 'examples' is '50.5': sizes must be"),
        (tidy(extra=["fir,-50,0.6"]), "row 10: 'examples' is '-50': sizes must be"),
        (tidy(extra=["oak,50,0.7"]), "oak at 50 examples has the scores 0.4 (row 2), 0.7 (row 10), 0.3 apart"),
        (tidy("candidate,examples,Score,score", lambda v: f"{v},0.1"), "more than one column 'Score', 'score'"),
        (tidy("candidate,Candidate,examples,score").replace("oak", "oak,a").replace("elm", "elm,b"), "'Candidate'"),
        (tidy("candidate,examples,score,value", lambda v: f"{v},0.1"), "both 'score' and 'value' hold numbers"),
        (tidy("candidate,examples,accuracy"), "if 'accuracy' is what to read, name it 'score'"),
        (tidy("candidate,examples,score,metric", lambda v: f"{v},eval_loss"), "holds 'eval_loss', of which less is"),
        (
            tidy("candidate,examples,value,score", lambda v: f"{v},f1", extra=["oak,50,0.4,chrf"]),
            "several kinds in 'score' ('f1', 'chrf'): their scores cannot be compared",
        ),
        (tidy("candidate,examples,score,standard_error", lambda v: f"{v},1.5"), "'1.5', expected a number from 0 to 1"),
        (tidy("candidate,examples,score,standard_error", lambda v: f"{v},-0.1"), "'-0.1', expected a number from 0"),
        ("candidate,400,400.0\noak,0.2,0.1\n", "more than one column for 400 examples: '400', '400.0'"),
        ("candidate,50,100\noak,0.5,70\n", "row 2: the score 70 is not between 0 and 1 (column '100')"),
        ("examples,score\n50,0.5\n", "no column 'candidate'"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "s.csv").write_text(text)
    asked = (tmp_path / "s.csv", "--target-size", 6400)
    assert message in refused(capsys, "forecast", *asked, "--scores")
    assert message in refused(capsys, "plan", *asked, "--target-score", 0.9)


def test_percentages_need_a_scale_of_percentages(read):
    with pytest.raises(InputError, match=r"row 2: 'score' is '40%': percentages are read under a --ceiling of 1 or 1"):
        read(tidy(write=percent), Between("s", ceiling=5.0))


def test_values_that_fall_are_read_with_a_word(read):
    made = read("candidate,50,100,200\noak,0.9,0.7,0.5\nelm,0.8,0.7,0.65\n")
    assert made.notes == (
        "the values of 2 of 2 candidates fall with the data (oak: 0.9 at 50, 0.5 at 200): if these are losses or "
        "errors, of which less is better, leave --scores out",
    )


def test_two_spellings_of_a_column_are_refused_of_losses_too(tmp_path, capsys):
    (tmp_path / "l.csv").write_text("candidate,examples,loss,Loss\na,50,1.5,2.5\na,100,1.4,2.4\n")
    said = refused(capsys, "forecast", tmp_path / "l.csv", "--target-size", 800)
    assert "more than one column 'loss', 'Loss'" in said


def test_what_a_selection_wrote_is_read_by_the_name_of_the_score(tmp_path):
    """With names that no spreadsheet takes for a formula, a failed score and the second task."""
    name = written_name("=oak")
    rows = [
        f"{name},0,test,exact_match,0.1,0.02,271,0",
        f"{name},50,test,exact_match,0.4,0.03,271,0",
        f"{name},50,test,chrf,0.9,0.03,271,0",
        f"{name},50,define,exact_match,0.8,0.03,271,0",
        f"{name},100,test,exact_match,,,271,3",
    ]
    header = "candidate,examples,task,score,value,standard_error,scored,failed"
    (tmp_path / "scores.csv").write_text("\n".join([header, *rows]) + "\n")
    made = read_scores(tmp_path / "scores.csv", EXACT, "exact_match")
    assert (made.candidates, made.sizes.tolist()) == (("=oak",), [0, 50])
    assert made.losses[0].tolist() == [0.1, 0.4]
    assert made.standard_errors[0].tolist() == [0.02, 0.03]
    assert made.notes == ("1 row without a score left out (row 6)",)
