"""What is installed: the package, and nothing of the evidence; and it works away from the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree."""
    [path] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return path


def test_the_wheel_holds_the_package_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"lensllm"}
    assert "lensllm/demo_truth.json" in names
    assert "lensllm/py.typed" in names
    assert not [name for name in names if "evidence" in name or name.endswith((".csv", "kernel_prior.py"))]


def test_the_wheel_selects_outside_the_repository(wheel, tmp_path):
    """In an environment of its own, which sees the other packages of this one and not its lensllm."""
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, timeout=120)
    [packages] = (tmp_path / "env" / "lib").glob("*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    command = [python.with_name("lensllm"), "select", "sentiment", "--models", "gpt2-0.2m-random", "--sizes", "10"]
    quick = ["--num-train-epochs", "1", "--max-test-examples", "10", "--learning-rate", "0.001", "--workers", "1"]
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*command, *quick], capture_output=True, text=True, cwd=tmp_path, env=without, timeout=280)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "out" / "select" / "selection.json").read_text())
    assert made["provenance"]["versions"]["lensllm"] == wheel.split("lensllm-")[1].split("-")[0]
    asked = [str(python), "-c", "import lensllm; print(lensllm.__file__)"]
    told = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, env=without, timeout=60)
    assert told.stdout.startswith(str(packages))
