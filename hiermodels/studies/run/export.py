"""Datasets of a run out, estimates made elsewhere in: other programs meet the same replicates, and are scored beside
ours.

- `datasets` gives the datasets of a run as tables; `export_datasets` writes them to one file.
- `import_estimates` takes a table of estimates (from R, say), fills in the true values, stores it as a method of the
  run, and computes the table of performance again.
"""

from __future__ import annotations

from hiermodels.studies.run.exporting import datasets, export_datasets, read_cell
from hiermodels.studies.run.importing import import_estimates

__all__ = ["datasets", "export_datasets", "import_estimates", "read_cell"]
