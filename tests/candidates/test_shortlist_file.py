"""`--models @shortlist.txt`: names of models in a file."""

import pytest
from commands import refused, run

from lensllm.candidates.shortlist_file import named_models
from lensllm.config import SelectConfig
from lensllm.errors import InputError


@pytest.fixture
def shortlist(tmp_path):
    def write(text):
        path = tmp_path / "shortlist.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"@{path}"

    return write


def test_one_name_a_line_with_comments(shortlist):
    file = shortlist(
        "\ufeff# kept by find\r\norg/one@abc  # best by loss, 0.9\r\n\r\n  org/two\r\n#org/three\r\n./a#b\r\n"
    )
    assert SelectConfig.of(models=["gpt2", file]).models == ["gpt2", "org/one@abc", "org/two", "./a#b"]
    assert SelectConfig.of(models=file).model_names() == ["org/one@abc", "org/two", "./a#b"]


def test_a_folder_with_a_space_in_its_name(shortlist, tmp_path):
    folder = tmp_path / "my model"
    folder.mkdir()
    assert named_models([shortlist(f"{folder}\n")]) == [str(folder)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("org/one\norg/two org/three\n", "line 2: expected one model a line, got 'org/two org/three'"),
        ("org/one\n\norg/one # again\n", "line 3: org/one stands on line 1, too"),
        ("@other.txt\n", "line 1: @other.txt is a file of names in another"),
        ("# nothing\n", "names no model"),
        (b"org/\xff\n", "is not text in UTF-8"),
        (b"#" * ((1 << 20) + 1), "has 1,048,577 bytes"),
    ],
)
def test_what_is_no_list_of_models(shortlist, text, sentence):
    with pytest.raises(InputError, match=sentence):
        named_models([shortlist(text)])


@pytest.mark.parametrize("name", ["@nowhere.txt", "@", "@a\0b", "@" + "x" * 5000])
def test_a_file_that_is_not_there(name):
    with pytest.raises(InputError, match="no file of models"):
        named_models([name])


@pytest.mark.parametrize("command", ["check", "select"])
def test_commands_take_it(command, shortlist, model_folders, sums_file, tmp_path, capsys):
    file = shortlist(f"{model_folders['gpt']}\n{model_folders['llama']}  # both\n")
    few = ["--sizes", 8, "--num-train-epochs", 1, "--max-test-examples", 10, "--workers", 1]
    printed = run(capsys, command, sums_file, "--models", file, *few, "--output-dir", tmp_path / "out")
    assert "gpt" in printed
    assert "llama" in printed
    empty = shortlist("")
    assert refused(capsys, command, sums_file, "--models", empty).startswith(f"lensllm: {empty[1:]} names no model")
