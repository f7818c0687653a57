"""What a methods section cites: how each work stands in a sentence, and its BibTeX entry."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

__all__ = ["WORKS", "bibtex", "in_text"]

WORKS: dict[str, tuple[str, str]] = {
    "hiermodels": (
        "The hiermodels authors 2026",
        """@software{hiermodels,
  author = {{The hiermodels authors}},
  title = {hiermodels: hierarchical models in {JAX}, and how their estimates behave over thousands of simulated datasets},
  year = {2026},
  version = {VERSION}
}""",  # noqa: E501
    ),
    "jax": (
        "Bradbury et al. 2018",
        """@software{jax,
  author = {Bradbury, James and Frostig, Roy and Hawkins, Peter and Johnson, Matthew James and Leary, Chris and Maclaurin, Dougal and
    Necula, George and Paszke, Adam and VanderPlas, Jake and Wanderman-Milne, Skye and Zhang, Qiao},
  title = {{JAX}: composable transformations of {Python}+{NumPy} programs},
  year = {2018}
}""",  # noqa: E501
    ),
    "numpyro": (
        "Phan, Pradhan & Jankowiak 2019",
        """@misc{numpyro,
  author = {Phan, Du and Pradhan, Neeraj and Jankowiak, Martin},
  title = {Composable effects for flexible and accelerated probabilistic programming in {NumPyro}},
  year = {2019},
  note = {arXiv:1912.11554}
}""",
    ),
    "nuts": (
        "Hoffman & Gelman 2014",
        """@article{nuts,
  author = {Hoffman, Matthew D. and Gelman, Andrew},
  title = {The No-{U}-Turn Sampler: adaptively setting path lengths in {Hamiltonian} {Monte} {Carlo}},
  journal = {Journal of Machine Learning Research},
  year = {2014},
  volume = {15},
  pages = {1593--1623}
}""",
    ),
    "gibbs": (
        "Gelfand & Smith 1990",
        """@article{gibbs,
  author = {Gelfand, Alan E. and Smith, Adrian F. M.},
  title = {Sampling-based approaches to calculating marginal densities},
  journal = {Journal of the American Statistical Association},
  year = {1990},
  volume = {85},
  pages = {398--409}
}""",
    ),
    "metropolis": (
        "Metropolis et al. 1953",
        """@article{metropolis,
  author = {Metropolis, Nicholas and Rosenbluth, Arianna W. and Rosenbluth, Marshall N. and Teller, Augusta H. and Teller, Edward},
  title = {Equation of state calculations by fast computing machines},
  journal = {The Journal of Chemical Physics},
  year = {1953},
  volume = {21},
  pages = {1087--1092}
}""",  # noqa: E501
    ),
    "elliptical": (
        "Murray, Adams & MacKay 2010",
        """@inproceedings{elliptical,
  author = {Murray, Iain and Adams, Ryan Prescott and MacKay, David J. C.},
  title = {Elliptical slice sampling},
  booktitle = {Proceedings of the 13th International Conference on Artificial Intelligence and Statistics},
  year = {2010},
  pages = {541--548}
}""",
    ),
    "rhat": (
        "Vehtari et al. 2021",
        """@article{rhat,
  author = {Vehtari, Aki and Gelman, Andrew and Simpson, Daniel and Carpenter, Bob and B{\\"u}rkner, Paul-Christian},
  title = {Rank-normalization, folding, and localization: an improved $\\widehat{R}$ for assessing convergence of {MCMC}},
  journal = {Bayesian Analysis},
  year = {2021},
  volume = {16},
  pages = {667--718}
}""",  # noqa: E501
    ),
    "sdpriors": (
        "Gelman 2006",
        """@article{sdpriors,
  author = {Gelman, Andrew},
  title = {Prior distributions for variance parameters in hierarchical models},
  journal = {Bayesian Analysis},
  year = {2006},
  volume = {1},
  pages = {515--534}
}""",
    ),
    "lkj": (
        "Lewandowski, Kurowicka & Joe 2009",
        """@article{lkj,
  author = {Lewandowski, Daniel and Kurowicka, Dorota and Joe, Harry},
  title = {Generating random correlation matrices based on vines and extended onion method},
  journal = {Journal of Multivariate Analysis},
  year = {2009},
  volume = {100},
  pages = {1989--2001}
}""",
    ),
}
"""Key to (author and year, BibTeX)."""


def in_text(keys: Iterable[str]) -> str:
    """Works in brackets after a statement; nothing where there are none.

    Examples
    --------
    >>> in_text(["nuts"]), in_text([])
    (' (Hoffman & Gelman 2014)', '')
    """
    words = [WORKS[key][0] for key in dict.fromkeys(keys)]
    return f" ({'; '.join(words)})" if words else ""


def bibtex(keys: Iterable[str]) -> str:
    """Entries of works, each once.

    Examples
    --------
    >>> bibtex(["nuts", "nuts"]).count("@")
    1
    """
    return "\n\n".join(WORKS[key][1].replace("VERSION", version("hiermodels")) for key in dict.fromkeys(keys))
