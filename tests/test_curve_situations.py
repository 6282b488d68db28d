"""Tables of losses as users have sent them: read as meant, or refused with row and column."""

import json

import pytest
from commands import refused, run

LOSSES = {"oak": (1.4146, 1.2962, 1.1931, 1.1034, 1.0253), "elm": (1.482, 1.4095, 1.3419, 1.2788, 1.22)}
SIZES = (50, 100, 200, 400, 800)


def tidy(names=("oak", "elm"), header="candidate,examples,loss", more="", extra=()):
    rows = [
        f"{name},{size},{loss}{more}"
        for name, losses in zip(names, LOSSES.values(), strict=True)
        for size, loss in zip(SIZES, losses, strict=True)
    ]
    return "\n".join([header, *rows, *extra]) + "\n"


def forecast(capsys, path, text):
    path.write_text(text)
    return json.loads(run(capsys, "forecast", path, "--target-size", 6400, "--json"))["candidates"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "curves.csv"


@pytest.mark.parametrize(
    "text",
    [
        tidy(header="candidate, examples, loss"),
        tidy(header="Candidate,Examples,Loss"),
        tidy(("oak ", " elm")),
        tidy().replace("oak,100", "oak ,100").replace("elm,400", " elm,400"),
        tidy().replace(",", ";").replace(".", ","),
        "\ufeff" + tidy(),
        "candidate,50,100,200,400,800\n" + "".join(f"{n},{','.join(map(str, v))}\n" for n, v in LOSSES.items()),
    ],
)
def test_spellings_of_a_table_are_forecast_alike(capsys, path, text):
    assert forecast(capsys, path, text) == forecast(capsys, path, tidy())


@pytest.mark.parametrize(
    "names", [("7", "13"), ("NA", "None"), ("nan", "null"), ("1.0", "1"), ("oak[/INST]", "[red]elm")]
)
def test_names_are_names(capsys, path, names):
    for text in (tidy(names), tidy(names, "candidate,examples,loss,family", ",f")):
        assert {row["candidate"] for row in forecast(capsys, path, text)} == set(names)


@pytest.mark.parametrize(
    "sizes", ['200,400,"1,000","2,000"', "200,400,1k,2k", "200,400,1_000,2_000", "200.0,400,1e3,2000"]
)
def test_spellings_of_sizes(capsys, path, sizes):
    rows = "oak,1.6,1.4,1.1,0.9\nelm,1.5,1.45,1.4,1.38\n"
    expected = forecast(capsys, path, "candidate,200,400,1000,2000\n" + rows)
    assert forecast(capsys, path, f"candidate,{sizes}\n" + rows) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (tidy(extra=["oak,800,5.0"]), "oak at 800 examples has the losses 1.0253 (row 6), 5 (row 12)"),
        (tidy(extra=["fir,50,-0.5"]), "row 12: 'loss' is '-0.5': losses have to be above 0"),
        (tidy(extra=["fir,50,0"]), "row 12: 'loss' is '0': losses have to be above 0"),
        (tidy(extra=["fir,50,61%"]), "row 12: 'loss' is '61%': percentages are scores"),
        (tidy(extra=['fir,50,"1,25"']), "row 12: 'loss' is '1,25': write a decimal point"),
        (tidy(extra=["fir,50,1,25"]), "row 12 has 4 cells, the header 3"),
        (tidy(extra=["fir,50"]), "row 12 has 2 cells, the header 3"),
        (tidy(extra=[",50,1"]), "row 12: 'candidate' is empty"),
        (tidy(extra=["fir,50.5,1"]), "row 12: 'examples' is '50.5': sizes must be"),
        (
            tidy(header="candidate,examples,loss,split", more=",test", extra=["oak,50,1.2,train"]),
            "several kinds in 'split'",
        ),
        (tidy(header="candidate,examples,loss,metric", more=",accuracy"), "holds 'accuracy', of which more is better"),
        (tidy(header="candidate,examples,loss,method", more=",lora", extra=["oak,50,1.2,full"]), "differ in 'method'"),
        ("candidate,50,100,200\noak,61.2,66,71.5\nelm,55,58.3,60.1\n", "the values of 2 of 2 candidates rise"),
        ("candidate,400,400\noak,2,1\n", "more than one column '400'"),
        ("candidate,400,400.0\noak,2,1\n", "more than one column for 400 examples: '400', '400.0'"),
        ("candidate,400,400.1\noak,2,1\n", "look like numbers of examples and are not read as such: '400.1'"),
        ("candidate,n=400,800\noak,2,1\n", "look like numbers of examples and are not read as such: 'n=400'"),
        ("candidate,50,100\nm0,1.1,1.0,0.9\n", "row 2 has 4 cells, the header 3"),
        ("candidate,50,100\noak,2,1\noak ,2,1\n", "two candidates are named 'oak' (rows 2 and 3)"),
        ("candidate,accuracy\noak,2\n", "'accuracy' is a score"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(capsys, path, text, message):
    path.write_text(text)
    assert message in refused(capsys, "forecast", path, "--target-size", 6400)
    assert message in refused(capsys, "plan", path, "--target-size", 6400, "--gain", 0.05)


def test_what_is_averaged_or_left_out_is_said(capsys, path):
    path.write_text(tidy(extra=["oak,800,1.03", "elm,1600,", "elm,1600,nan", "oak,50,1.4146"]))
    printed = run(capsys, "forecast", path, "--target-size", 6400)
    assert "note: the mean is taken where a point was measured more than once, at 1 point" in printed
    assert "oak at 800 examples has the losses 1.0253 (row 6), 1.03 (row 12)" in printed
    assert "note: 2 rows without a loss left out (row 13, 14)" in printed
    assert "note: rows that repeat a measurement count once (1 left out)" in printed
