"""Copies of a process (``fork``) in which JAX was at work: its threads are not copied, so that the copy would wait for
them for ever.
"""

from __future__ import annotations

import os
import sys

__all__ = ["refuse_fork"]

_copied = False


def refuse_fork(what: str) -> None:
    """Refuse to compute in a copy of a process in which JAX had begun.

    Raises
    ------
    ValueError
        With what to do.
    """
    if _copied:
        raise ValueError(
            f"{what}: this process was forked from one in which JAX was at work, and would hang; begin it afresh, "
            "say with multiprocessing.get_context('spawn')"
        )


def _note() -> None:
    global _copied
    bridge = sys.modules.get("jax._src.xla_bridge")
    _copied = _copied or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note)
