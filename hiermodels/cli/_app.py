"""The application that commands are added to, and what several of them need."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

__all__ = ["BEGAN", "Device", "app", "check_device", "prepare_jax", "show"]

BEGAN = time.monotonic()
"""When the command began: a time limit counts from here."""

app = App(
    name="hiermodels",
    help="Fit hierarchical models, and find out how the fit behaves over thousands of simulated datasets.",
    version_flags=["--version"],
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
Device = Annotated[Literal["auto", "cpu", "gpu"], Parameter(help="where to compute; auto takes what JAX finds")]


def prepare_jax(device: str = "auto") -> None:
    """Set the compilation cache and the platform; both must be known before jax is imported."""
    if "jax" in sys.modules:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "hiermodels" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[device]


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises
    ------
    ValueError
        With what was found.
    """
    import jax

    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        found = str(error).splitlines()[0]
    if found != device if device != "auto" else " " in found:
        hint = "use --device auto (hiermodels doctor shows what is there)"
        raise ValueError(f"--device {device}: expected such a device here, found {found}; {hint}")


def show(table: Any) -> None:
    """Print one of rich's renderables; off a terminal 160 columns wide and plain."""
    from rich.console import Console as Plain

    class Console(Plain):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the entry point's to answer, as for what is printed without rich

    console = Console() if sys.stdout.isatty() else Console(width=160, highlight=False)
    console.print(table)
