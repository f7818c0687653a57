"""Frequentist rivals: closed forms, brute-force maximisation, simulated coverage."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import hiermodels as hm
from hiermodels.inference import frequentist
from hiermodels.inference.frequentist import cluster_summaries
from hiermodels.inference.student import student_quantile

SCHOOLS = hm.load_dataset("eight_schools")
EFFECT, KNOWN = SCHOOLS["effect"].to_numpy(float), SCHOOLS["se"].to_numpy(float) ** 2
TWO_LEVEL = ["dersimonian_laird", "paule_mandel", "reml", "hksj", "hksj_modified"]


def a_meta_analysis(seed: int, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.2, 6.0, k)
    return rng.normal(1.0, np.sqrt(variance + rng.choice([0.0, 2.0, 30.0]))), variance


def dense_reml(tau2: float, y: np.ndarray, variance: np.ndarray) -> float:
    """-2 log restricted likelihood from full matrices."""
    matrix, ones = np.diag(variance + tau2), np.ones((len(y), 1))
    inverse = np.linalg.inv(matrix)
    projection = inverse - inverse @ ones @ np.linalg.inv(ones.T @ inverse @ ones) @ ones.T @ inverse
    return np.linalg.slogdet(matrix)[1] + np.linalg.slogdet(ones.T @ inverse @ ones)[1] + y @ projection @ y


def test_student_quantiles():
    p, df = np.meshgrid([0.6, 0.975, 0.9995, 0.05], [1.0, 1.7, 3.0, 12.4, 400.0, 9999.0, 10001.0, 1e6])
    with jax.enable_x64(True):
        np.testing.assert_allclose(student_quantile(p, df), stats.t.ppf(p, df), rtol=1e-9)


def test_student_quantiles_at_the_edges():
    with jax.enable_x64(True):
        assert float(student_quantile(0.975, jnp.inf)) == pytest.approx(1.959963984540054, rel=1e-12)
        assert np.isnan(float(student_quantile(0.975, 0.0)))


@pytest.mark.parametrize("seed", range(12))
def test_reml_is_the_highest_restricted_likelihood(seed):
    y, variance = a_meta_analysis(seed)
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 4000)])
    best = grid[np.argmin([dense_reml(t, y, variance) for t in grid])]
    local = optimize.minimize_scalar(
        dense_reml,
        bounds=(best * 0.99, best * 1.01 + 1e-5),
        args=(y, variance),
        method="bounded",
        options={"xatol": 1e-12},
    )
    found = float(frequentist.reml(y, variance).sd) ** 2
    reference = 0.0 if best == 0 and dense_reml(0.0, y, variance) <= local.fun else local.x
    assert found == pytest.approx(reference, rel=1e-5, abs=1e-6)
    assert dense_reml(found, y, variance) <= local.fun + 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_paule_mandel_solves_its_equation(seed):
    y, variance = a_meta_analysis(seed)

    def excess(t: float) -> float:
        w = 1 / (variance + t)
        return float(w @ (y - w @ y / w.sum()) ** 2) - (len(y) - 1)

    reference = optimize.brentq(excess, 0, 1e6, xtol=1e-13) if excess(0) > 0 else 0.0
    assert float(frequentist.paule_mandel(y, variance).sd) ** 2 == pytest.approx(reference, rel=1e-9, abs=1e-12)


def test_equal_variances_have_a_closed_form():
    y = np.array([1.0, 4.0, -2.0, 9.0, 3.0])
    s2, mean = y.var(ddof=1), y.mean()
    for name in ("dersimonian_laird", "paule_mandel", "reml"):
        found = getattr(frequentist, name)(y, 2.0)
        assert float(found.sd) ** 2 == pytest.approx(s2 - 2, rel=1e-8)
        assert float(found.mean) == pytest.approx(mean)
        assert float(found.mean_se) == pytest.approx(np.sqrt(s2 / 5))
        lower, upper = found.interval("mean")
        assert upper - lower == pytest.approx(2 * stats.norm.ppf(0.975) * np.sqrt(s2 / 5))
        lower, upper = found.interval("new", 0.9)
        assert upper - lower == pytest.approx(2 * stats.t.ppf(0.95, 3) * np.sqrt(s2 - 2 + s2 / 5))
    # with T > 0 and equal variances the rescaled interval is Student's own
    for name in ("hksj", "hksj_modified"):
        lower, upper = getattr(frequentist, name)(y, 2.0).interval("mean")
        own = stats.t.interval(0.95, 4, mean, np.sqrt(s2 / 5))
        assert (lower, upper) == (pytest.approx(own[0]), pytest.approx(own[1]))


def test_eight_schools_by_hand():
    w = 1 / KNOWN
    mean = w @ EFFECT / w.sum()
    q = w @ (EFFECT - mean) ** 2
    assert q == pytest.approx(4.707079, abs=1e-6)
    for name in TWO_LEVEL:
        found = getattr(frequentist, name)(EFFECT, KNOWN)
        assert float(found.sd) == 0 and float(found.mean) == pytest.approx(7.685617, abs=1e-6)
    assert float(frequentist.hksj(EFFECT, KNOWN).mean_se) == pytest.approx(np.sqrt(q / 7 / w.sum()))
    assert float(frequentist.hksj_modified(EFFECT, KNOWN).mean_se) == pytest.approx(4.071919, abs=1e-6)


def test_dersimonian_laird_by_hand():
    y, v = np.array([0.1, 0.8, 1.9, -0.4]), np.array([0.04, 0.1, 0.2, 0.3])
    w = 1 / v
    q = w @ (y - w @ y / w.sum()) ** 2
    t = (q - 3) / (w.sum() - (w**2).sum() / w.sum())
    found = frequentist.dersimonian_laird(y, v)
    w = 1 / (v + t)
    assert t > 0 and float(found.sd) == pytest.approx(np.sqrt(t))
    assert (float(found.mean), float(found.mean_se)) == (pytest.approx(w @ y / w.sum()), pytest.approx(w.sum() ** -0.5))
    scaled = frequentist.hksj(y, v, heterogeneity="dersimonian_laird")
    assert float(scaled.mean_se) == pytest.approx(np.sqrt(w @ (y - w @ y / w.sum()) ** 2 / 3 / w.sum()))


@pytest.mark.parametrize("name", TWO_LEVEL)
def test_a_group_without_data_counts_nowhere(name):
    y, variance = a_meta_analysis(3)
    first, second = getattr(frequentist, name)(y, variance), getattr(frequentist, name)([*y, 50.0], [*variance, np.inf])
    for part in ("mean", "mean_se", "sd", "new_se", "new_df"):
        assert float(getattr(second, part)) == pytest.approx(float(getattr(first, part)), rel=1e-7, abs=1e-9)


def test_intervals_for_the_mean_cover_as_known():
    # k = 5 groups, equal variances, T = V: Student's interval is exact where T is estimated positive, and longer where
    # it is 0
    rng = np.random.default_rng(5)
    y = rng.normal(0, np.sqrt(2.0), (6000, 5))
    with jax.enable_x64(True):
        functions = {n: getattr(frequentist, n) for n in TWO_LEVEL}
        ends = {
            n: jax.jit(jax.vmap(lambda r, f=f: f(r, jnp.ones(5)).interval("mean")))(y) for n, f in functions.items()
        }
    cover = {n: float(np.mean((np.asarray(low) <= 0) & (np.asarray(high) >= 0))) for n, (low, high) in ends.items()}
    error = np.sqrt(0.95 * 0.05 / 6000)
    assert cover["hksj"] == pytest.approx(0.95, abs=4 * error)  # equal variances: exact at any T
    assert cover["dersimonian_laird"] < 0.95 - 4 * error  # the normal quantile is too small for five groups
    assert cover["hksj_modified"] >= cover["hksj"]


# clusters
# ---------------------------------------------------------------------------------------------------------------


def a_trial(seed: int, sizes: list[int], between: float = 1.5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    treated = (cluster % 2).astype(float)
    y = 2 + 0.7 * treated + between * rng.normal(size=len(sizes))[cluster] + rng.normal(size=len(cluster)) * 2
    return {"y": y, "cluster": cluster, "treated": treated}


def arguments(trial, *names):
    found = cluster_summaries(**trial)
    return [found[name] for name in names]


def test_cluster_t_is_the_t_test_on_means():
    trial = a_trial(1, [4, 7, 3, 9, 5, 6, 8])
    mean, size, treated = arguments(trial, "mean", "size", "treated")
    for equal in (True, False):
        found = frequentist.cluster_t(mean, size, treated, equal_variances=equal)
        reference = stats.ttest_ind(mean[treated == 1], mean[treated == 0], equal_var=equal)
        assert float(found.effect / found.effect_se) == pytest.approx(reference.statistic)
        assert float(found.effect_df) == pytest.approx(reference.df)
        low, high = reference.confidence_interval(0.95)
        assert [float(e) for e in found.interval("effect")] == [pytest.approx(low), pytest.approx(high)]
    coded = frequentist.cluster_t(mean, size, 2 * treated - 1)
    plain = frequentist.cluster_t(mean, size, treated)
    assert float(coded.effect) == pytest.approx(float(plain.effect) / 2)
    assert float(coded.mean) == pytest.approx((mean[treated == 1].mean() + mean[treated == 0].mean()) / 2)
    assert float(plain.mean_se) == pytest.approx(float(plain.effect_se) / np.sqrt(1 / 4 + 1 / 3) / np.sqrt(4))


def test_satterthwaite_of_a_balanced_trial_is_the_t_test():
    trial = a_trial(2, [6] * 10)
    found = frequentist.satterthwaite(*arguments(trial, "mean", "size", "within", "treated"))
    simple = frequentist.cluster_t(*arguments(trial, "mean", "size", "treated"))
    assert float(found.sd) > 0
    for part in ("effect", "effect_se", "effect_df", "mean", "mean_se", "mean_df"):
        assert float(getattr(found, part)) == pytest.approx(float(getattr(simple, part)), rel=1e-6)
    mean, within = arguments(trial, "mean", "within")
    assert float(found.sigma) ** 2 == pytest.approx(within.sum() / 50, rel=1e-8)
    assert float(found.sd) ** 2 == pytest.approx(float(simple.effect_se) ** 2 * 5 / 2 - within.sum() / 50 / 6, rel=1e-7)
    assert len(mean) == 10


def dense(trial):
    """-2 log restricted likelihood and coefficient covariance of the mixed model from full matrices."""
    y, x = trial["y"], np.column_stack([np.ones_like(trial["y"]), trial["treated"]])
    same = (trial["cluster"][:, None] == trial["cluster"]).astype(float)

    def parts(v):
        inverse = np.linalg.inv(v[0] * np.eye(len(y)) + v[1] * same)
        covariance = np.linalg.inv(x.T @ inverse @ x)
        b = covariance @ x.T @ inverse @ y
        deviance = (
            -np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(covariance)[1] + (y - x @ b) @ inverse @ (y - x @ b)
        )
        return deviance, covariance, b

    return parts


def second_differences(f, v, step):
    n = len(v)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            e, d = np.eye(n)[i] * step[i], np.eye(n)[j] * step[j]
            matrix[i, j] = (f(v + e + d) - f(v + e - d) - f(v - e + d) + f(v - e - d)) / (4 * step[i] * step[j])
    return matrix


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_satterthwaite_of_an_unbalanced_trial_by_brute_force(seed):
    trial = a_trial(seed, [3, 12, 5, 2, 8, 6, 15, 4])
    parts = dense(trial)
    best = optimize.minimize(
        lambda u: parts(np.exp(u))[0], [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    v = np.exp(best.x)
    found = frequentist.satterthwaite(*arguments(trial, "mean", "size", "within", "treated"))
    assert [float(found.sigma) ** 2, float(found.sd) ** 2] == [
        pytest.approx(v[0], rel=1e-5),
        pytest.approx(v[1], rel=1e-5),
    ]
    _, covariance, b = parts(v)
    assert [float(found.mean), float(found.effect)] == [pytest.approx(x, rel=1e-5) for x in b]
    step = v * 1e-3
    inverse = np.linalg.inv(0.5 * second_differences(lambda w: parts(w)[0], v, step))
    gradient = np.array(
        [(parts(v + e)[1].diagonal() - parts(v - e)[1].diagonal()) / (2 * e.sum()) for e in np.diag(step)]
    )
    df = 2 * covariance.diagonal() ** 2 / np.einsum("ib,ij,jb->b", gradient, inverse, gradient)
    assert [float(found.mean_se), float(found.effect_se)] == [
        pytest.approx(x, rel=1e-5) for x in np.sqrt(covariance.diagonal())
    ]
    assert [float(found.mean_df), float(found.effect_df)] == [pytest.approx(x, rel=1e-3) for x in df]


@pytest.mark.parametrize("between", [0.5, 30.0, 3000.0])
def test_satterthwaite_at_any_ratio_of_the_variances(between):
    trial = a_trial(8, [20] * 10, between)
    mean, within = arguments(trial, "mean", "within")
    found = frequentist.satterthwaite(*arguments(trial, "mean", "size", "within", "treated"))
    simple = frequentist.cluster_t(*arguments(trial, "mean", "size", "treated"))
    pooled = (mean[::2].var(ddof=1) + mean[1::2].var(ddof=1)) / 2
    assert float(found.sd) ** 2 == pytest.approx(pooled - within.sum() / 190 / 20, rel=1e-6)
    assert [float(found.effect_se), float(found.effect_df)] == [
        pytest.approx(float(simple.effect_se)),
        pytest.approx(8, rel=1e-5),
    ]


def test_satterthwaite_without_variance_between_clusters_is_least_squares():
    trial = a_trial(6, [5, 4, 6, 7, 5, 4], between=0.0)
    mean = cluster_summaries(**trial)["mean"]
    trial["y"] = (
        trial["y"] - mean[trial["cluster"]] + 2 + 0.7 * trial["treated"] + 0.01 * trial["cluster"]
    )  # means nearly on the line
    found = frequentist.satterthwaite(*arguments(trial, "mean", "size", "within", "treated"))
    x = np.column_stack([np.ones_like(trial["y"]), trial["treated"]])
    b, rss, *_ = np.linalg.lstsq(x, trial["y"], rcond=None)
    s2 = rss[0] / (len(x) - 2)
    assert float(found.sd) == 0
    assert float(found.sigma) ** 2 == pytest.approx(s2)
    assert [float(found.mean), float(found.effect)] == [pytest.approx(e) for e in b]
    assert float(found.effect_se) == pytest.approx(np.sqrt(s2 * np.linalg.inv(x.T @ x)[1, 1]))
    assert float(found.effect_df) == pytest.approx(len(x) - 2)


@pytest.mark.parametrize("name", ["cluster_t", "satterthwaite"])
def test_an_empty_cluster_counts_nowhere(name):
    names = ("mean", "size", "within", "treated") if name == "satterthwaite" else ("mean", "size", "treated")
    given = arguments(a_trial(7, [3, 12, 5, 2, 8, 6]), *names)
    empty = {"mean": 0.0, "size": 0.0, "within": 0.0, "treated": 9.0}
    first = getattr(frequentist, name)(*given)
    second = getattr(frequentist, name)(*(np.append(a, empty[n]) for n, a in zip(names, given, strict=True)))
    for part in ("effect", "effect_se", "effect_df"):
        assert float(getattr(second, part)) == pytest.approx(float(getattr(first, part)), rel=1e-7)


def test_a_predictor_within_clusters_is_refused():
    with pytest.raises(ValueError, match=r"treated: expected one value a cluster, found several in '0'"):
        cluster_summaries([1.0, 2.0, 3.0], [0, 0, 1], [0, 1, 1])
