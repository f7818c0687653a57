"""What this machine offers to jax: devices, versions, cores, compilation cache."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["findings"]


def findings() -> list[tuple[str, str]]:
    """Name and finding, a line each.

    Examples
    --------
    >>> [name for name, _ in findings()][:2]
    ['hiermodels', 'python']
    """
    import jax

    from hiermodels.studies.run.runner import cores

    lines = [("hiermodels", metadata.version("hiermodels")), ("python", platform.python_version())]
    lines += [(name, metadata.version(name)) for name in ("jax", "jaxlib", "numpyro", "arviz", "numpy")]
    lines.append(("devices", ", ".join(f"{d.platform}: {d.device_kind}" for d in jax.devices())))
    lines.append(("cores granted", f"{cores()} of {os.cpu_count()}"))
    lines.append(("compilation cache", _cache()))
    if jax.devices()[0].platform == "cpu":
        lines.append(("GPU", "none found; with an NVIDIA GPU: pip install 'hiermodels[cuda]'"))
    return lines


def _cache() -> str:
    """Where compiled programs are kept, and whether a program written there is accepted back."""
    import jax

    folder = jax.config.jax_compilation_cache_dir
    if not folder:
        return "off (set JAX_COMPILATION_CACHE_DIR to keep compiled programs between runs)"
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        files = [f for f in path.iterdir() if f.is_file()]
    except OSError as error:
        return f"{folder}: not usable ({error.strerror})"
    size = sum(f.stat().st_size for f in files) / 2**20
    return f"{folder}: {len(files)} entries, {size:.0f} MiB"
