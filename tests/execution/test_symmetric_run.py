"""Ray's launcher for SLURM starts a node, runs our command on it, and ends it: the recipe of docs/cluster.md."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

pytestmark = pytest.mark.xdist_group("ray")
PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


def test_the_launcher_of_the_page_runs_our_command_on_one_node(model_folders, sums_file, tmp_path):
    assert 'srun ray symmetric-run --address "$head:6379" --min-nodes 4 -- ' in PAGE.read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    launcher = [Path(sys.executable).with_name("ray"), "symmetric-run", "--address", address, "--min-nodes", "1"]
    given = ["--models", model_folders["gpt"], "--sizes", "10", "--num-train-epochs", "1", "--max-test-examples", "10"]
    ours = [sys.executable, "-m", "lensllm", "select", sums_file, *given, "--executor", "ray", "--output-dir", tmp_path]
    command = [*launcher, "--num-cpus", "1", "--", *ours]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    if "Ray is already started on this node" in done.stderr:
        pytest.skip("another Ray cluster runs on this machine")
    assert f"ray: joined the Ray cluster at {address}" in done.stderr + done.stdout, done.stderr
    assert (tmp_path / "report.html").is_file(), done.stderr
    assert done.returncode == 0
