"""The script of all GPU figures runs, and prints a table; on a CPU with tiny sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_row_of_the_table_for_each_figure_and_for_what_failed(tmp_path: Path) -> None:
    """With a stand-in for Python that prints as the benchmarks do, so that it takes no time."""
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "name = sys.argv[1]\n"
        "sys.exit('no memory') if 'training' in name else print(f'{name:40} 1.5 s')\n"
    )
    python.chmod(0o755)
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
    done = subprocess.run(
        [script, "--smoke"], capture_output=True, text=True, env={"PYTHON": str(python),
        "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Card: no GPU (smoke test: unmeasured)" in done.stdout
    assert "| encoders | benchmarks/encoders.py 1.5 s |" in done.stdout
    assert "| candidates | benchmarks/gpu_candidates.py 1.5 s |" in done.stdout
    assert "| failed | training: no memory |" in done.stdout
