"""What every sampler is: a frozen record of its settings that answers all that is asked of a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.beside import draws_beside
from hiermodels.inference.derived import derive
from hiermodels.inference.draws import Draws, Estimates
from hiermodels.inference.inner_error import ALLOWED, inner_error
from hiermodels.inference.settings import Settings
from hiermodels.inference.summaries import Interval, Target, summarise
from hiermodels.models.centring import centring
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem

__all__ = ["Retry", "Sampler", "Steps", "power_of_two"]


class Steps(NamedTuple):
    """The two halves of an estimator: they want different numbers of datasets side by side.

    Attributes
    ----------
    first : callable
        ``(key, data, truth) -> state``: the chains, or for exact posteriors the estimates already.
    second : callable or None
        ``(state, key, data, truth) -> Estimates``: draws of every variable, and their summaries.
    draws : callable or None
        ``(state, key, data) -> draws by variable``, those that the summaries are of; None where there are none.
    """

    first: Callable[[Array, Data, Array], Any]
    second: Callable[[Any, Array, Data, Array], Estimates] | None
    draws: Callable[[Any, Array, Data], dict[str, Array]] | None = None


class Retry(NamedTuple):
    """A further try where a sampler distrusts its own answer.

    Attributes
    ----------
    settings : Settings
    words : str
        What is tried, as the end of a line of progress.
    remark : str
        What a fit says of draws that come from this try; empty for nothing.
    """

    settings: Settings
    words: str
    remark: str = ""


@dataclass(frozen=True)
class Sampler:
    """A sampler with its settings; it is written for one dataset, and ``vmap`` batches it.

    A sampler is a subclass in a file of its own in this folder, and a line in the menu
    (`hiermodels.inference.samplers.menu`). It gives `name` and `positions`, and whatever else of the below is not as it
    stands here; the first line of its docstring is what lists show of it. Contract tests over the menu hold its draws
    to an exact posterior.

    Attributes
    ----------
    settings : Settings
    name : str
        Its name in the menu.
    method : str
        How it computes a posterior, as a sentence about methods goes on.
    cites : tuple of str
        Works that such a sentence cites (`hiermodels._citations`).
    independent : bool
        Whether its draws are independent.
    quadrature : bool
        Whether its estimates in a study are quadratures, each judged alone, instead of summaries of draws.
    functions : bool
        Whether it takes a user's NumPyro function, of which only log density, start and dimension are known.
    takes : tuple of str
        Settings that not every sampler uses, and this one does: ``step_size``, ``accuracy``.
    slow_to_compile : bool
        Whether its program is compiled first, while other threads do something else.
    chunk : int
        Replicates of a study a file, before rounding up to whole lanes: a few seconds of work.
    most_lanes : int
        Most datasets side by side on CPU.
    """

    settings: Settings = field(default_factory=Settings)

    name: ClassVar[str] = ""
    method: ClassVar[str] = ""
    cites: ClassVar[tuple[str, ...]] = ()
    independent: ClassVar[bool] = False
    quadrature: ClassVar[bool] = False
    functions: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ()
    slow_to_compile: ClassVar[bool] = False
    chunk: ClassVar[int] = 64
    most_lanes: ClassVar[int] = 32

    # what it can do ---------------------------------------------------------------------------------------------------

    def wants(self) -> str:
        """What its settings must be and are not, as a whole message; empty where they are right."""
        if self.independent and not self.settings.marginalize:
            return (
                f"sampler={self.name!r} integrates the group effects out; use it with marginalize=True, or use "
                f"sampler='nuts'"
            )
        return ""

    def model(self, layout: Layout) -> Any:
        """What it moves on: the factorised model where that is asked for and possible, else the explicit one.

        Raises
        ------
        ValueError
            For a model that it cannot do: why, and the way on.
        """
        if not self.settings.marginalize:
            return self.explicit(layout)
        try:
            return factorise(layout, self.settings.accuracy)
        except ValueError:
            return self.explicit(layout)

    def explicit(self, layout: Layout) -> Explicit:
        """The model with all its group values; ``centred="auto"`` that has not been decided stands for no centring."""
        centred = self.settings.centred
        return Explicit(layout, False if isinstance(centred, str) else centred)

    def check(self, layout: Layout, data: Data) -> None:
        """Refuse models and data that no draws of this sampler can be made of; host arrays.

        Raises
        ------
        ValueError
        """
        self.model(layout)

    # one dataset ------------------------------------------------------------------------------------------------------

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        """Unconstrained positions (chain, draw, dim) of a model with at least one dimension, and statistics by ArviZ's
        names, each (chain, draw).
        """
        raise NotImplementedError(f"{self.name}: positions")

    def chains(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        """`positions`, of a model without hyperparameters too; ``heavy_weights`` where the model's own density is not
        exact enough for them.
        """
        if model.dim == 0:
            shape = (self.settings.chains, self.settings.draws)
            return jnp.zeros((*shape, 0)), {"lp": jnp.broadcast_to(model.log_density(jnp.zeros(0), stats), shape)}
        position, found = self.positions(model, key, stats)
        inner = inner_error(model, position.reshape(-1, model.dim), stats)
        return position, found if inner is None else found | {
            "heavy_weights": jnp.broadcast_to(inner > ALLOWED, position.shape[:2])
        }

    def draw(self, model: Any, key: Array, stats: Any) -> Draws:
        """Draws of every variable (chain, draw, ...) and the sampler's statistics, group axes padded."""
        chain_key, draw_key = jax.random.split(key)
        position, found = self.chains(model, chain_key, stats)
        return Draws(draws_beside(model, stats, draw_key, position), found, independent=self.without_chain(model))

    def without_chain(self, model: Any) -> bool:
        """Whether the draws of this model are independent."""
        return model.dim == 0 or self.independent

    def steps(self, model: Any, targets: tuple[Target, ...], interval: Interval) -> Steps:
        """Estimates of one dataset, in two steps."""
        settings, independent = self.settings, self.without_chain(model)

        def chains(key: Array, data: Data, truth: Array) -> tuple[Array | None, Array, Array]:
            position, found = self.chains(model, jax.random.split(key, 4)[0], model.prepare(data))
            heavy = jnp.any(found.get("heavy_weights", jnp.zeros((), bool)))
            if model.dim == 0:  # nothing to hand on, and lax.map does not cut arrays without entries
                return None, jnp.zeros((), jnp.int32), heavy
            return position, jnp.sum(found.get("diverging", jnp.zeros(()))).astype(jnp.int32), heavy

        def draws(state: tuple[Array | None, Array, Array], key: Array, data: Data) -> dict[str, Array]:
            position = jnp.zeros((settings.chains, settings.draws, 0)) if state[0] is None else state[0]
            return draws_beside(model, model.prepare(data), jax.random.split(key, 4)[1], position)

        def summaries(state: tuple[Array | None, Array, Array], key: Array, data: Data, truth: Array) -> Estimates:
            _, _, new_key, rank_key = jax.random.split(key, 4)
            values = derive(model.layout, draws(state, key, data), targets, data, new_key)
            return summarise(values, targets, interval, rank_key, truth, state[1], state[2], independent=independent)

        return Steps(chains, summaries, draws)

    # many datasets ----------------------------------------------------------------------------------------------------

    def lanes(self, device_kind: str, dim: int, size: int) -> int:
        """Give the number of datasets in one vmapped step that ``lanes: auto`` stands for.

        Wide steps spread the fixed cost of a step of the loop, narrow ones keep the working set in the cache and
        wait less for the slowest dataset: the product of lanes and size is what counts.

        Parameters
        ----------
        device_kind : str
            ``"cpu"``, or the name of an accelerator.
        dim : int
            Dimensions that are sampled.
        size : int
            Observations and targets of a dataset.

        Returns
        -------
        int
            A power of two; a pure function of the arguments.
        """
        numbers = max(1, size) + 2 * max(1, dim)
        if device_kind.lower() != "cpu":
            return power_of_two(2**21 / numbers, 64, 4096)
        return power_of_two(2.0**12.5 / numbers, 4, self.most_lanes)

    # when it is not enough --------------------------------------------------------------------------------------------

    def distrusted(self) -> tuple[Retry, ...]:
        """What is tried, in order, where its draws carry the statistic ``heavy_weights``, its doubt of itself."""
        return ()

    def harder(self) -> tuple[Settings, ...]:
        """Settings of the further tries of a failed fit under ``retry-with-escalation``: longer chains of NUTS, with a
        higher target acceptance.
        """
        chains = replace(self.settings, sampler="nuts")
        return tuple(
            replace(
                chains, tune=chains.tune * 2**k, draws=chains.draws * 2, target_accept=max(chains.target_accept, accept)
            )
            for k, accept in ((1, 0.95), (2, 0.99))
        )

    def instead(self) -> str:
        """What to use in its place where its chains are too slow, as the end of a remedy; empty where nothing is
        better.
        """
        return ", or sampler='nuts'"

    # words ------------------------------------------------------------------------------------------------------------

    def words(self, problem: Problem, draws: Draws) -> list[str]:
        """What a printed fit says of how its draws were made: which group values were sampled as themselves, where
        ``centred="auto"`` chose.
        """
        layout = problem.layout
        if self.settings.centred != "auto" or not isinstance(self.model(layout), Explicit):
            return []
        names = centring(layout, problem.data)
        own = {f"chol_{p.owner}" if p.role == "correlation" else p.name for p in layout.parameters}
        free = [site.name for site in Explicit(layout, names).sites if site.name not in own]
        words = [f"{s} as {'itself' if s in names else 'standardised deviations'}" for s in free]
        return [f"sampled: {', '.join(words)}"] if words else []


def power_of_two(x: float, least: int, most: int) -> int:
    """The power of two nearest to x between two others."""
    return 2 ** round(math.log2(min(max(x, least), most)))
