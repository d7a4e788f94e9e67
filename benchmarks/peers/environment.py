"""The peers' own virtual environments: made once, in the work folder, with the versions of their packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / ".work"

# Each line is one call of pip. torch first, so that nothing else chooses its version.
RECIPES: dict[str, list[list[str]]] = {
    "diffusers": [
        ["torch==2.13.0", "numpy>=2,<3", "pillow"],
        ["diffusers==0.42.1"],
    ],
    "pythae": [
        ["torch==2.13.0", "numpy>=2,<3", "pillow"],
        # It requires the back-port "dataclasses", which is for Python 3.6 only; its other requirements follow.
        ["--no-deps", "pythae==0.1.2"],
        ["pydantic>=2", "scikit-learn", "scipy", "cloudpickle", "imageio", "tqdm"],
    ],
    "mostlyai": [
        ["torch==2.13.0", "mostlyai-engine==2.7.3"],
    ],
    "transformers": [
        ["torch==2.13.0", "numpy>=2,<3"],
        ["transformers==5.24.0"],
    ],
    "fidelity": [
        ["torch==2.13.0", "numpy>=2,<3", "pillow", "scipy", "tqdm"],
        # It requires torchvision, which does not load beside the CPU build of torch; the scripts import a stub.
        ["--no-deps", "torch-fidelity==0.4.0"],
    ],
    "video": [
        ["numpy>=2,<3", "av==18.1.0"],
    ],
}

# Dependencies that a peer does not need, and that cannot be imported beside the CPU build of torch.
UNLOADABLE = {"mostlyai": ["torchvision", "torchaudio"]}


def make(peer: str) -> tuple[Path, list[str]]:
    """Return the peer's interpreter and its `pip freeze`; make its environment if there is none for this recipe."""
    folder = HOME / f"venv-{peer}"
    python, marker = folder / "bin" / "python", folder / "recipe.json"
    if not marker.exists() or json.loads(marker.read_text())["recipe"] != RECIPES[peer]:
        print(f"making the environment of {peer} …", flush=True)
        HOME.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        for arguments in RECIPES[peer]:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *arguments], check=True)
        if UNLOADABLE.get(peer):
            subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *UNLOADABLE[peer]], check=True)
        frozen = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
        marker.write_text(json.dumps({"recipe": RECIPES[peer], "frozen": frozen.split("\n")[:-1]}, indent=2) + "\n")
    return python, json.loads(marker.read_text())["frozen"]


if __name__ == "__main__":
    for name in sys.argv[1:] or RECIPES:
        print(make(name)[0])
