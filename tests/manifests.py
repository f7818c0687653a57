"""A small study's resolved config and manifest, as a run writes them."""

from hiermodels.studies.store import results

CELLS = [{"hash": "0a", "factors": {"sd_school": 0.0}}, {"hash": "0b", "factors": {"sd_school": 10.0}}]


def resolved(**changes):
    config = {
        "aim": "Which?",
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "truth": {"Intercept": 8},
            "grid": {"sd_school": [0, 10]},
        },
        "estimands": ["Intercept", "theta_school"],
        "methods": {"none": {"pooling": "none"}, "partial": {"pooling": "partial", "draws": 1000}},
        "performance": ["bias"],
        "interval": 0.95,
        "replications": 10,
        "failures": "complete-case",
        "seed": 1,
        "precision": "float64",
        "lanes": 4,
        "chunk": 4,
    }
    return config | changes


def manifest(cells=CELLS, **changes):
    return results.make_manifest(
        resolved(**changes), cells=cells, lanes=4, chunk=4, device="cpu", regime=["population"]
    )
