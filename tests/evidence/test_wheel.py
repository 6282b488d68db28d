"""What is installed: the package, and nothing of the evidence."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_package_alone(tmp_path):
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"lensllm"}
    assert "lensllm/demo_truth.json" in names
    assert "lensllm/py.typed" in names
    assert not [name for name in names if "evidence" in name or name.endswith((".csv", "kernel_prior.py"))]
