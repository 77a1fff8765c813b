"""`artsound …`: parses, calls one function, prints; heavy imports wait until they are needed."""

from __future__ import annotations

from typing import Annotated

import typer

from artsound import __version__
from artsound.cli import build, shards, status, training  # noqa: F401  (each adds its commands to the app)
from artsound.cli.app import app, say
from artsound.errors import ArtSoundError


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"artsound {__version__}")
        raise SystemExit(0)


def main() -> None:
    """Run the command line; exit 0 done, 1 the data is bad, 2 wrong usage."""
    try:
        app(standalone_mode=True)
    except ArtSoundError as error:
        say(f"artsound: {error}")
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        say(f"artsound: this needs {error.name}: pip install 'artsound[{extra}]'.")
        raise SystemExit(2) from None


_EXTRAS = {
    "torch": "train",
    "diffusers": "train",
    "accelerate": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "peft": "train",
    "transformers": "models",
    "open_clip": "models",
    "laion_clap": "models",
    "distributed": "dask",
    "prefect_dask": "dask",
}
