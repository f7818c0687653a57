"""`meta`: every number it prints against metafor (run here) and bayesmeta (as published), on the sets that both
have.
"""

import numpy as np
import pandas as pd
import pytest
from link_quadrature import Posterior
from published import konstantopoulos
from scipy import integrate, optimize, stats

import hiermodels as hm
from hiermodels.inference import frequentist
from hiermodels.synthesis import turner_prior
from hiermodels.synthesis.classical import profile_likelihood, q_profile

# deaths or events of n, treated and control; printed in the papers that are named
CRINS = {
    "a": [14, 16, 3, 9, 4, 0],
    "n": [61, 28, 18, 54, 36, 50],
    "c": [15, 19, 8, 29, 11, 3],
    "m": [20, 28, 12, 54, 36, 34],
}  # Crins et al. 2014
ASPIRIN = {
    "a": [49, 44, 27, 102, 85, 246],
    "n": [615, 758, 317, 832, 810, 2267],
    "c": [67, 64, 32, 126, 52, 219],
    "m": [624, 771, 309, 850, 406, 2257],
}  # Peto 1980
BCG = {
    "a": [4, 6, 3, 62, 33, 180, 8, 505, 29, 17, 186, 5, 27], "n": [123, 306, 231, 13598, 5069, 1541, 2545, 88391, 7499, 1716, 50634, 2498, 16913],
    "c": [11, 29, 11, 248, 47, 372, 10, 499, 45, 65, 141, 3, 29], "m": [139, 303, 220, 12867, 5808, 1451, 629, 88391, 7277, 1665, 27338, 2341, 17854],
}  # Colditz et al. 1994  # fmt: skip
DIURETICS = {
    "a": [14, 21, 14, 6, 12, 138, 15, 6, 65], "n": [131, 385, 57, 38, 1011, 1370, 506, 108, 153],
    "c": [14, 17, 24, 18, 35, 175, 20, 2, 40], "m": [136, 134, 48, 40, 760, 1336, 524, 103, 102],
}  # Collins, Yusuf & Peto 1985  # fmt: skip
LIDOCAINE = {
    "a": [2, 4, 6, 7, 7, 11],
    "n": [39, 44, 107, 103, 110, 154],
    "c": [1, 4, 4, 5, 3, 4],
    "m": [43, 44, 110, 100, 106, 146],
}  # Hine et al. 1989
COUNTS = {"events": "a", "n": "n", "control_events": "c", "control_n": "m"}
COACHING = pd.DataFrame(
    {
        "effect": [28.39, 7.94, -2.75, 6.82, -0.64, 0.63, 18.01, 12.16],
        "se": [14.9, 10.2, 16.3, 11.0, 9.4, 11.4, 10.4, 17.6],
    }
)  # Rubin 1981
OBSERVERS = pd.DataFrame(
    {
        "effect": [183.2, 149.0, 154.0, 167.2, 187.2, 158.0, 143.0],
        "se": np.sqrt([117, 8.1, 235.9, 295, 1064.6, 51.2, 134]),
    }
)  # Cochran 1954
STAYS = pd.DataFrame(
    {
        "n1": [155, 31, 75, 18, 8, 57, 34, 110, 60], "m1": [55, 27, 64, 66, 14, 19, 52, 21, 30], "s1": [47, 7, 17, 20, 8, 7, 45, 16, 27],
        "n2": [156, 32, 71, 18, 13, 52, 33, 183, 52], "m2": [75, 29, 119, 137, 18, 18, 41, 31, 23], "s2": [64, 4, 29, 48, 11, 4, 34, 27, 20],
    }
)  # Normand 1999, Table IX  # fmt: skip


def analysis(name, **settings):
    counts = {"bcg": (BCG, "RR"), "collins": (DIURETICS, "OR"), "aspirin": (ASPIRIN, "OR"), "crins": (CRINS, "OR")}
    if name in counts:
        table, measure = counts[name]
        return hm.meta(pd.DataFrame(table), measure, **COUNTS, **settings)
    if name == "hine":
        table = pd.DataFrame(LIDOCAINE)
        found = hm.effect_sizes(table, "RD", **COUNTS, zero_cells="none")
        return hm.meta(found.assign(effect=100 * found["effect"], se=100 * found["se"]), **settings)
    if name == "normand":
        return hm.meta(
            STAYS, "MD", mean="m1", sd="s1", n="n1", control_mean="m2", control_sd="s2", control_n="n2", **settings
        )
    return hm.meta({"schools": COACHING, "cochran": OBSERVERS}[name], **settings)


# metafor 3.8-1, rma(): estimate se lower upper tau2 I2 (%) H2 of DL PM REML ML; Hartung-Knapp (REML) estimate se lower
# upper; Q and its p; Q-profile of tau2; rma.mv's profile likelihood of tau2, REML and ML
METAFOR = {
    "bcg": (
        [[-0.71411722, 0.17874209, -1.0644453, -0.36378916, 0.30876026, 92.117347, 12.686084], [-0.71496815, 0.18089219, -1.0695103, -0.36042597, 0.31806845, 92.330338, 13.038384],
         [-0.71453234, 0.17978152, -1.0668976, -0.36216705, 0.31324326, 92.221385, 12.855758], [-0.71119914, 0.17189681, -1.0481107, -0.37428758, 0.28002814, 91.378284, 11.598619]],
        [-0.71453234, 0.18079174, -1.1084437, -0.32062097], [152.23301, 1.9967646e-26], [0.11971836, 1.1114791], [0.11526611, 0.96469533], [0.10507738, 0.83391248]),
    "collins": (
        [[-0.51676219, 0.20371161, -0.91602961, -0.11749477, 0.22969909, 70.658247, 3.4081127], [-0.51766118, 0.24510425, -0.99805669, -0.03726567, 0.38629981, 80.197545, 5.0498789],
         [-0.51810321, 0.22363586, -0.95642143, -0.079784978, 0.30079419, 75.923673, 4.1534575], [-0.51706792, 0.20632554, -0.92145855, -0.11267728, 0.23856517, 71.437244, 3.5010627]],
        [-0.51810321, 0.24083937, -1.0734798, 0.037273369], [27.264902, 0.00063623572], [0.072312245, 2.2027188], [0.042712457, 1.4746625], [0.026542346, 1.130751]),
    "hine": (
        [[2.944432, 1.3068317, 0.38308897, 5.5057751, 0, 0, 1]] * 4, [2.944432, 0.54188393, 1.551475, 4.337389], [0.85969268, 0.97307077], [0, 0.31661673], None, None),
    "normand": (
        [[-13.981722, 5.1266983, -24.029866, -3.9335777, 205.40938, 96.65154, 29.864476], [-15.14568, 9.2142716, -33.205321, 2.9139604, 728.25113, 99.032275, 103.33509],
         [-15.106027, 8.9465528, -32.640949, 2.4288939, 684.64615, 98.971274, 97.207647], [-15.01009, 8.3720006, -31.418909, 1.3987301, 595.46495, 98.819024, 84.675752]],
        [-15.106027, 9.1989087, -36.318749, 6.1066941], [238.91581, 3.8418093e-47], [292.91812, 2889.4513], [255.80927, 2379.1904], [230.61057, 1925.1768]),
    "cochran": (
        [[158.02013, 5.5177787, 147.20548, 168.83478, 91.214621, 52.731539, 2.1155755], [157.93922, 5.4389235, 147.27912, 168.59931, 86.807132, 51.495655, 2.061671],
         [158.26237, 5.7713222, 146.95078, 169.57395, 106.15713, 56.490068, 2.2983258], [157.49649, 5.0508241, 147.59705, 167.39592, 66.796479, 44.962292, 1.8169361]],
        [158.26237, 5.5133003, 144.77181, 171.75293], [12.693453, 0.048170603], [0, 1043.4935], [0, 858.71233], [0, 580.22724]),
    "aspirin": (
        [[-0.16892146, 0.097960598, -0.36092071, 0.023077781, 0.026926022, 49.409243, 1.9766456], [-0.15316486, 0.085233, -0.32021847, 0.013888746, 0.014589551, 34.605648, 1.5291841],
         [-0.16800802, 0.097034192, -0.35819154, 0.022175503, 0.025944354, 48.481204, 1.9410391], [-0.16078309, 0.090637673, -0.33842967, 0.016863482, 0.019520294, 41.452992, 1.7080292]],
        [-0.16800802, 0.08279151, -0.38083037, 0.044814333], [9.8832282, 0.078612349], [0, 0.17056746], [0, 0.19590372], [0, 0.13741989]),
    "crins": (
        [[-1.5852869, 0.3174507, -2.2074789, -0.963095, 0.1634446, 27.650439, 1.3821784], [-1.5823789, 0.30964096, -2.1892641, -0.97549381, 0.13906807, 24.538517, 1.3251794],
         [-1.5915129, 0.33408813, -2.2463136, -0.93671221, 0.21811397, 33.775291, 1.5100104], [-1.5783404, 0.29864845, -2.1636806, -0.99300018, 0.10615788, 19.886322, 1.2482263]],
        [-1.5915129, 0.31121486, -2.3915162, -0.79150965], [6.910892, 0.22735219], [0, 2.9797928], [0, 2.7154029], [0, 1.7326383]),
    "schools": (
        [[7.8705456, 4.1655777, -0.29383678, 16.034928, 0, 0, 1]] * 4, [7.8705456, 3.3632867, -0.082363683, 15.823455], [4.5632612, 0.71308678], None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(METAFOR))
def test_metafors_estimates_and_intervals(name):
    found = analysis(name)
    methods, knapp, test, q_profile, restricted, full = METAFOR[name]
    table = found.classical
    close = {"rtol": 3e-6, "atol": 3e-7}
    for method, expected in zip(("DL", "PM", "REML", "ML"), methods, strict=True):
        row = table.loc[method]
        got = [*row[["estimate", "se", "lower", "upper"]], row["tau"] ** 2, 100 * row["I2"], row["H2"]]
        np.testing.assert_allclose(got, expected, **close)
    np.testing.assert_allclose(table.loc["HKSJ", ["estimate", "se", "lower", "upper"]].to_numpy(float), knapp, **close)
    np.testing.assert_allclose([found.homogeneity["Q"], found.homogeneity["p"]], test, rtol=1e-6)
    for expected, interval in zip((q_profile, restricted, full), _tau2(found), strict=True):
        if expected is not None:
            np.testing.assert_allclose(interval, expected, **close)


def _tau2(found):
    return q_profile(found.rows), profile_likelihood(found.rows), profile_likelihood(found.rows, restricted=False)


@pytest.mark.parametrize("name", ["crins", "schools"])
def test_the_menu_for_many_datasets_says_the_same(name):
    rows = analysis(name).rows
    table = analysis(name).classical
    for method, function in (
        ("DL", "dersimonian_laird"),
        ("PM", "paule_mandel"),
        ("REML", "reml"),
        ("HKSJ", "hksj"),
        ("HKSJ modified", "hksj_modified"),
    ):
        other = getattr(frequentist, function)(rows.y, rows.variance)
        lower, upper = other.interval("mean")
        new = other.interval("new")
        np.testing.assert_allclose(
            table.loc[method, ["estimate", "se", "lower", "upper", "tau", "new_lower", "new_upper"]].to_numpy(float),
            [other.mean, other.mean_se, lower, upper, other.sd, *new], rtol=1e-6, atol=1e-6,
        )  # fmt: skip


def test_profile_likelihood_by_another_route():
    rows = analysis("schools").rows  # metafor's search ends at its own limit here
    lower, upper = profile_likelihood(rows)

    def minus_twice(t):
        v = rows.variance + t
        mean = (rows.y / v).sum() / (1 / v).sum()
        return np.log(v).sum() + np.log((1 / v).sum()) + ((rows.y - mean) ** 2 / v).sum()

    best = optimize.minimize_scalar(minus_twice, bounds=(0, 500), method="bounded", options={"xatol": 1e-10})
    assert lower == 0 and minus_twice(upper) - min(best.fun, minus_twice(0.0)) == pytest.approx(
        stats.chi2.ppf(0.95, 1), abs=1e-6
    )


def test_crins_is_bayesmetas():
    """Röver 2020, Journal of Statistical Software 93(6), section 3; its mean's fifth digit is off (two quadratures
    agree on ours).
    """
    found = analysis("crins", priors={"mean": "normal(0, 4)", "tau": "half_normal(0.5)"}, interval="shortest")
    table = found.summary()
    assert table.loc["tau", "estimate"] == pytest.approx(0.3445023, abs=2e-6) and table.loc[
        "tau", "se"
    ] == pytest.approx(0.2593672, abs=2e-6)
    assert table.loc["mean", "estimate"] == pytest.approx(-1.57642537, abs=1e-6) and table.loc[
        "mean", "se"
    ] == pytest.approx(0.32936815, abs=2e-6)
    np.testing.assert_allclose(table.loc["mean", ["lower", "upper"]].to_numpy(float), [-2.2311, -0.9263], atol=1.5e-3)
    np.testing.assert_allclose(
        table.loc["new", ["estimate", "lower", "upper"]].to_numpy(float), [-1.5764, -2.7661, -0.4073], atol=2e-3
    )
    # bayesmeta prints .5671855 for the new study's sd, which its own moments of tau contradict: the variance is E tau^2
    # + Var mean
    assert table.loc["new", "se"] == pytest.approx((0.3810562**2 + 0.2593672**2 + 0.32936815**2) ** 0.5, abs=2e-6)
    theta = found.studies
    np.testing.assert_allclose(theta["theta_mean"].iloc[0], -1.7779, atol=4e-3)
    np.testing.assert_allclose(theta["theta_sd"].iloc[0], 0.4229, atol=2e-3)
    np.testing.assert_allclose(table.loc["I2"].to_numpy(float), _i2_by_quadrature(found), atol=3e-4)


def _i2_by_quadrature(found):
    """Median, sd of I2 and the values at the ends of tau's shortest interval, by SciPy on the marginal density of
    tau.
    """
    y, v = found.rows.y, found.rows.variance
    w = 1 / v
    typical = (len(y) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())

    def density(t):
        p = 1 / (v + t * t)
        total = p.sum() + 1 / 16
        mean = (p @ y) / total
        return np.exp(
            0.5 * np.log(p).sum() - 0.5 * np.log(total) - 0.5 * (p @ y**2 - total * mean**2) - t * t / (2 * 0.25) + 5
        )

    grid = np.linspace(0, 4, 40001)
    values = np.array([density(t) for t in grid])
    cdf = integrate.cumulative_trapezoid(values, grid, initial=0)
    total, cdf = cdf[-1], cdf / cdf[-1]
    i2 = grid**2 / (grid**2 + typical)
    moments = [integrate.trapezoid(values * i2**k, grid) / total for k in (1, 2)]
    median = np.interp(0.5, cdf, grid)
    upper = np.interp(0.95, cdf, grid)  # the density falls from 0: the shortest interval begins there, or nearly
    best = min(
        ((np.interp(p + 0.95, cdf, grid) - np.interp(p, cdf, grid), p) for p in np.linspace(0, 0.05, 2001)),
        default=(upper, 0.0),
    )[1]
    ends = [np.interp(best, cdf, grid), np.interp(best + 0.95, cdf, grid)]
    return [
        median**2 / (median**2 + typical),
        np.sqrt(moments[1] - moments[0] ** 2),
        *[t**2 / (t**2 + typical) for t in ends],
    ]


@pytest.mark.slow
def test_coaching_is_bayesmetas():
    """Rubin's unrounded data; bayesmeta's vignette."""
    settings = {"priors": {"mean": "normal(0, 50)", "tau": "half_cauchy(25)"}}
    table = analysis("schools", **settings).summary()
    np.testing.assert_allclose(
        table.loc["tau", ["estimate", "lower", "upper"]].to_numpy(float), [4.758539, 0.2199559, 18.0531718], rtol=1e-3
    )
    assert table.loc["mean", "estimate"] == pytest.approx(7.98604183, abs=1e-4)
    table = analysis("schools", **settings, interval="shortest").summary()
    np.testing.assert_allclose(table.loc["tau", ["lower", "upper"]].to_numpy(float), [0, 15.16589], atol=0.02)
    np.testing.assert_allclose(table.loc["mean", ["lower", "upper"]].to_numpy(float), [-1.8234, 17.8246], atol=0.02)
    np.testing.assert_allclose(table.loc["new", ["lower", "upper"]].to_numpy(float), [-10.62, 26.83], atol=0.03)
    table = analysis("schools", priors={"tau": "flat()"}).summary()
    assert table.loc["tau", "estimate"] == pytest.approx(5.2277, abs=2e-3) and table.loc[
        "mean", "estimate"
    ] == pytest.approx(8.0559, abs=1e-3)


@pytest.fixture(scope="module")
def bcg():
    return analysis("bcg", priors={"tau": "half_normal(0.5)"})


def test_leave_one_out_is_the_posterior_of_the_others(bcg):
    left, rows = bcg.leave_one_out(), bcg.rows
    y, v = np.delete(rows.y, 3), np.delete(rows.variance, 3)
    t = np.linspace(0, 4, 20001)
    p = 1 / (v + t[:, None] ** 2)
    total, mean = p.sum(1), (p @ y) / p.sum(1)
    density = np.exp(
        0.5 * np.log(p).sum(1) - 0.5 * np.log(total) - 0.5 * ((p * y**2).sum(1) - total * mean**2) - 2 * t**2
    )
    weight = density / density.sum()
    assert left["mean"].iloc[3] == pytest.approx(weight @ mean, abs=2e-5)
    ends = [
        optimize.brentq(lambda x, q=q: weight @ stats.norm.cdf((x - mean) * np.sqrt(total)) - q, -5, 5)
        for q in (0.025, 0.975)
    ]
    np.testing.assert_allclose(left.iloc[3][["mean_lower", "mean_upper"]], ends, atol=5e-4)
    assert left["tau"].iloc[3] == pytest.approx(np.interp(0.5, np.cumsum(weight), t), abs=5e-4)
    # metafor's leave1out (REML) moves the same way
    reml = [
        -0.70708378,
        -0.6540312,
        -0.68555441,
        -0.62840937,
        -0.7641701,
        -0.71087656,
        -0.6552476,
        -0.7947676,
        -0.7411973,
        -0.65303292,
        -0.75785863,
        -0.7598121,
        -0.77753618,
    ]
    assert np.corrcoef(left["mean"], reml)[0, 1] > 0.999


def test_weights_are_posterior_means(bcg):
    y, v, t = bcg.rows.y, bcg.rows.variance, np.linspace(0, 4, 20001)
    p = 1 / (v + t[:, None] ** 2)
    total, mean = p.sum(1), (p @ y) / p.sum(1)
    density = np.exp(
        0.5 * np.log(p).sum(1) - 0.5 * np.log(total) - 0.5 * ((p * y**2).sum(1) - total * mean**2) - 2 * t**2
    )
    expected = 100 * density / density.sum() @ (p / total[:, None])
    np.testing.assert_allclose(bcg.studies["weight"], expected, rtol=1e-4)


def test_figures_and_words(bcg):
    text = str(bcg)
    for word in (
        "Meta-analysis of 13 studies, log risk ratio",
        "without a prior",
        "HKSJ modified",
        "Q-profile",
        "as ratios",
        "p = 2e-26",
    ):
        assert word in text
    ratio = bcg.summary("response").loc["mean"]
    assert ratio["estimate"] == pytest.approx(np.exp(bcg.summary().loc["mean", "estimate"])) and np.isnan(ratio["se"])
    axes = bcg.forest().axes[0]
    words = [t.get_text() for t in axes.texts]
    assert (
        words[0].endswith("%")
        and len(words) == 15
        and [t.get_text() for t in axes.get_yticklabels()][-2:] == ["mean", "new study"]
    )
    studies = np.array([segment[:, 0] for segment in axes.collections[0].get_segments()])
    np.testing.assert_allclose(studies, bcg.studies[["lower", "upper"]])
    funnel = bcg.funnel().axes[0]
    assert funnel.get_ylim()[1] == 0.0
    region = funnel.collections[0].get_paths()[0].vertices
    ends, mean = np.sort(region[region[:, 1] == 0, 0])[[0, -1]], bcg.summary()["estimate"]
    np.testing.assert_allclose(ends, mean["mean"] + stats.norm.ppf([0.025, 0.975]) * mean["tau"])
    assert repr(bcg) == "Meta(13 studies, 'RR')"


def test_moderators_are_a_meta_regression():
    table = pd.DataFrame(BCG).assign(latitude=[44, 55, 42, 52, 13, 44, 19, 13, 27, 42, 18, 33, 33])
    found = hm.meta(table, "RR", **COUNTS, moderators="latitude", priors={"tau": "half_normal(0.5)"})
    # metafor 3.8-1: coefficients, se, tau2, I2, H2; QE; Q-profile; Hartung-Knapp
    expected = {
        "REML": [0.25146821, -0.029101725, 0.2490954, 0.0071953272, 0.076347964, 68.391225, 3.1636784],
        "DL": [0.25954371, -0.029228739, 0.23230747, 0.0067330108, 0.063300502, 64.20796, 2.7939173],
        "PM": [0.2219162, -0.028564531, 0.31747309, 0.0090701722, 0.14213126, 80.111208, 5.0279574],
    }  # fmt: skip
    for method, numbers in expected.items():
        rows = found.classical.loc[method]
        got = [*rows["estimate"], *rows["se"], rows["tau"].iloc[0] ** 2, 100 * rows["I2"].iloc[0], rows["H2"].iloc[0]]
        np.testing.assert_allclose(got, numbers, rtol=1e-5)  # metafor's PM stops a little before Q is k - p
    knapp = found.classical.loc["HKSJ"]
    np.testing.assert_allclose(
        knapp[["lower", "upper"]].to_numpy().ravel(), [-0.37344713, 0.87638355, -0.04715292, -0.011050527], rtol=3e-6
    )
    assert found.homogeneity["Q"] == pytest.approx(30.73309, rel=1e-6)
    np.testing.assert_allclose(found.tau_intervals.loc["Q-profile"] ** 2, [0.016680068, 0.78483525], rtol=3e-6)
    assert list(found.summary().index) == ["Intercept", "latitude", "tau", "I2", "H2"]
    mode = found.summary().loc["latitude"]
    assert abs(mode["estimate"] - knapp["estimate"].iloc[1]) < 0.2 * mode["se"]


@pytest.mark.slow
def test_nested_groupings_and_other_priors():
    table = pd.DataFrame(
        {
            "district": list("aabbccdd"),
            "school": list("xyxyxyxy"),
            "effect": [0.1, 0.3, -0.2, 0.0, 0.5, 0.7, 0.2, 0.1],
            "se": 0.2,
        }
    )
    found = hm.meta(
        table, study="district/school", priors={"tau": "half_normal(0.3)", "sd_district": "half_normal(0.3)"}
    )
    assert list(found.summary().index) == ["mean", "tau_district", "tau_district:school", "new"]
    assert list(found.classical.index) == ["REML", "ML"] and "tau_district" in str(found)
    with pytest.raises(ValueError, match="one variance between studies, found district, district:school"):
        found.leave_one_out()
    other = analysis("bcg").sensitivity()
    assert list(other.index) == ["reference()", "flat()", "half_normal(0.5)", "half_normal(1)", "half_cauchy(0.5)"]
    assert (
        other["tau"].is_monotonic_increasing is False
        and other.loc["flat()", "tau"] > other.loc["half_normal(0.5)", "tau"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "XX"}, "measure: no measure 'XX'"),
        ({"events": "a"}, "events: a column of an effect size needs measure="),
        ({"level": 2}, "level: expected a number between 0 and 1"),
        ({"interval": "hpd"}, "interval: expected one of central, shortest"),
        ({"study": "trial"}, "study: no column 'trial' in the data"),
        ({"study": "pair"}, "study: expected one row per study, found 2 of '1'; name what tells them apart, e.g. study='pair/outcome'"),
        ({"effect": "y"}, "no column 'y' in the data"),
        ({"priors": {"tua": "flat()"}}, "tua"),
        ({"priors": ["flat()"]}, "priors: expected a mapping such as .*, found list"),
        ({"study": 3}, "study: expected a text, found 3"),
        ({"moderators": 3}, "moderators: expected a text, found 3"),
    ],
)  # fmt: skip
def test_what_is_refused(change, message):
    table = COACHING.assign(pair=[1, 1, 2, 2, 3, 3, 4, 4])
    with pytest.raises(ValueError, match=message) as caught:
        hm.meta(table, **change)
    assert len(str(caught.value)) < 600


def test_one_row_per_arm():
    arms = pd.DataFrame(
        {"t": [1, 1, 2, 2, 3, 3], "arm": list("ab" * 3), "x": [9, 23, 10, 5, 8, 9], "n": [140, 140, 138, 50, 52, 60]}
    )
    columns = {"events": "x", "n": "n", "arm": "arm", "control": "b"}
    found = hm.meta(arms, "OR", study="t", **columns)
    apart = hm.meta(hm.effect_sizes(arms, "OR", study="t", **columns), study="t")
    assert list(found.data["t"]) == [1, 2, 3] and found.measure == apart.measure == "OR"
    pd.testing.assert_frame_equal(found.classical, apart.classical)


def test_as_many_coefficients_as_studies():
    found = hm.meta(COACHING.iloc[:1], priors={"tau": "half_normal(5)"})
    assert list(found.summary().index) == ["mean", "tau", "new"]
    assert "posterior" in str(found) and "without a prior" not in str(found)
    for what in ("classical", "tau_intervals", "homogeneity"):
        with pytest.raises(ValueError, match=f"{what}: expected more studies than coefficients, found 1 and 1"):
            getattr(found, what)
    with pytest.raises(ValueError, match="sensitivity: expected more studies"):
        found.sensitivity()


def test_improper_posteriors_of_the_others_are_refused():
    with pytest.raises(ValueError, match=r"leave_one_out: without 1: .* improper posterior with 2 study groups"):
        hm.meta(COACHING.iloc[:3], priors={"tau": "flat()"}).leave_one_out()


def test_h2_has_no_sd_where_tau_has_no_fourth_moment():
    """Under the reference prior the marginal density of tau falls as t^-k: at k = 4 E tau^4 is infinite."""
    se = hm.meta(COACHING.iloc[:4]).summary()["se"]
    assert se.notna().to_dict() == {"mean": True, "tau": True, "I2": True, "H2": False, "new": True}


def test_correlated_effects_are_refused():
    arms = pd.DataFrame(
        {"t": [1, 1, 1, 2, 2], "arm": list("abcab"), "x": [9, 23, 10, 5, 8], "n": [140, 140, 138, 50, 52]}
    )
    with pytest.raises(ValueError, match="some effects share a control group"):
        hm.meta(hm.effect_sizes(arms, "OR", events="x", n="n", study="t", arm="arm"))
    with pytest.raises(ValueError, match=r"scale: the effects \(measure not known\) are no logarithms"):
        hm.meta(COACHING)._exponential(pd.DataFrame())


@pytest.mark.slow
def test_the_sentence_of_the_page():
    from test_docs import DOCS, blocks

    page = DOCS / "meta_analysis.md"
    scope = {}
    for block in blocks(page, "python"):
        exec(block, scope)
        if "found" in scope and "meta" not in scope:
            scope["meta"] = scope["found"]
    ratio, plain = scope["meta"].summary("response"), scope["meta"].summary()
    words = " ".join(page.read_text(encoding="utf-8").split())
    mean, new, tau = ratio.loc["mean"], ratio.loc["new"], plain.loc["tau"]
    assert (
        f"to {mean['estimate']:.2f} of that of controls (95% credible interval {mean['lower']:.2f} to "
        f"{mean['upper']:.2f})" in words
    )
    assert (
        f"(tau {tau['estimate']:.2f}, {tau['lower']:.2f} to {tau['upper']:.2f}, on the log scale; I2 "
        f"{100 * plain.loc['I2', 'estimate']:.0f}%)" in words
    )
    assert f"{new['lower']:.2f} and {new['upper']:.2f}" in words


@pytest.mark.slow
def test_one_group_by_its_binomial_law():
    """Control arms of eight trials in ankylosing spondylitis (RBesT's AS data); an independent quadrature."""
    table = pd.DataFrame({"r": [23, 12, 19, 9, 39, 6, 9, 10], "n": [107, 44, 51, 39, 139, 20, 78, 35]})
    found = hm.meta(
        table, "PLO", events="r", n="n", likelihood="exact", priors={"mean": "normal(0, 2)", "tau": "half_normal(1)"}
    )
    summary = found.summary()
    error = found.fit.summary(["Intercept", "sd_study"])["mcse_mean"].to_numpy()
    assert summary.loc["mean", "estimate"] == pytest.approx(-1.1037, abs=4 * error[0]) and summary.loc[
        "mean", "se"
    ] == pytest.approx(0.1893, rel=0.08)
    assert summary.loc["tau", "estimate"] == pytest.approx(0.3529, abs=5 * error[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measure", "size", "family"), [("PLO", "n", "binomial_logit"), ("IRLN", "time", "poisson_log")]
)
def test_one_group_by_quadrature(measure, size, family):
    """Studies without an event are no exception: nothing is corrected."""
    table = pd.DataFrame({"x": [5, 0, 12, 9, 2], "size": [30, 17, 40, 21, 12]})
    priors = {"mean": "normal(0, 2)", "tau": "half_normal(1)"}
    found = hm.meta(table, measure, events="x", **{size: "size"}, likelihood="exact", priors=priors)
    expected = Posterior(family, table["x"].to_numpy(float), table["size"].to_numpy(float))
    errors = found.fit.summary(["Intercept", "sd_study"])["mcse_mean"].to_numpy()
    (mean, spread), (tau, tau_spread) = expected.intercept(), expected.sd()
    row = found.summary().loc["mean"]
    assert row["estimate"] == pytest.approx(mean, abs=4 * errors[0]) and row["se"] == pytest.approx(spread, rel=0.06)
    assert found.fit.draws.values["sd_study"].mean() == pytest.approx(tau, abs=4 * errors[1])
    assert found.summary().loc["tau", "se"] == pytest.approx(tau_spread, rel=0.06)
    assert found.studies["theta_mean"].iloc[1] == pytest.approx(expected.theta(1)[0], abs=0.1 * expected.theta(1)[1])


COUNT_LAWS = {
    "OR": (COUNTS, lambda x, n, eta: stats.binom.pmf(x, n, 1 / (1 + np.exp(-eta)))),
    "IRR": (
        {"events": "a", "time": "n", "control_events": "c", "control_time": "m"},
        lambda x, time, eta: stats.poisson.pmf(x, time * np.exp(eta)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("measure", COUNT_LAWS)
def test_two_arms_by_the_law_of_their_counts(measure):
    columns, law_of = COUNT_LAWS[measure]
    table = pd.DataFrame({"a": [0, 1, 2], "n": [40, 55, 80], "c": [3, 4, 9], "m": [41, 52, 79]})
    priors = {"mean": "normal(0, 1)", "tau": "half_normal(0.5)"}
    found = hm.meta(table, measure, **columns, likelihood="exact", priors=priors)
    b, t = np.linspace(-9, 3, 601)[:, None], np.linspace(-7, 5, 481)
    likelihood = []
    for a, n, c, m in table.itertuples(index=False):
        both = law_of(a, n, b + t) * law_of(c, m, b) * stats.norm.pdf(b, 0, 10)
        likelihood.append(both.sum(0))
    mean, tau = np.linspace(-4.5, 3, 151)[:, None], np.linspace(0.01, 2.6, 131)
    log_density = stats.norm.logpdf(mean) + stats.norm.logpdf(tau, 0, 0.5)
    law = stats.norm.pdf(t[:, None, None], mean, tau)
    for one in likelihood:
        log_density = log_density + np.log(np.tensordot(one, law, (0, 0)))
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    expected, spread = (weight * mean).sum(), np.sqrt((weight * mean**2).sum() - (weight * mean).sum() ** 2)
    summary, table = found.summary(), found.fit.summary("treated")
    assert summary.loc["mean", "estimate"] == pytest.approx(expected, abs=4 * table["mcse_mean"].iloc[0])
    assert summary.loc["mean", "se"] == pytest.approx(spread, rel=0.06)
    z = np.random.default_rng(1).standard_normal(400_000)
    draws = found.fit.draws.values
    new = draws["treated"].ravel() + np.resize(z, (100, draws["treated"].size)) * draws["sd_study_treated"].ravel()
    np.testing.assert_allclose(
        summary.loc["new", ["lower", "upper"]].to_numpy(float), np.quantile(new, [0.025, 0.975]), atol=0.03
    )
    assert "by the likelihood of their counts" in str(found) and len(found.forest().axes[0].get_yticklabels()) == 5
    assert found.summary("response").loc["mean", "estimate"] == pytest.approx(np.exp(summary.loc["mean", "estimate"]))


@pytest.mark.parametrize(
    ("measure", "change", "message"),
    [
        ("RD", {}, "likelihood: 'exact' is for OR, IRR, PLO, IRLN, found RD"),
        (None, {}, "likelihood: 'exact' needs the counts, found no measure"),
        ("OR", {"moderators": "n"}, "no moderators; declare hm.Model"),
        ("OR", {"likelihood": "binomial"}, "likelihood: expected one of normal, exact, found 'binomial'"),
        ("OR", {"interval": "shortest"}, "interval: with likelihood='exact' intervals are central"),
        ("OR", {"priors": ["flat()"]}, "priors: expected a mapping such as .*, found list"),
    ],
)  # fmt: skip
def test_what_has_no_exact_likelihood(measure, change, message):
    with pytest.raises(ValueError, match=message):
        hm.meta(pd.DataFrame(CRINS), measure, **COUNTS, **({"likelihood": "exact"} | change))


@pytest.mark.parametrize(
    ("outcome", "mean", "sd"),
    [("all-cause mortality", -3.95, 1.34), (None, -2.56, 1.74), ("pain", -1.83, 1.52), ("symptoms", -2.06, 1.51)],
)  # fmt: skip
def test_turners_laws_of_tau(outcome, mean, sd):
    """Entries as three other programs quote the table (pharmacological against placebo); laws of tau^2, halved for
    tau.
    """
    law = hm.priors.parse(turner_prior(outcome))
    assert (2 * law.mean, 2 * law.sd) == pytest.approx((mean, sd))


def test_turners_names():
    assert turner_prior("adverse event", "non-pharmacological vs pharmacological") == "log_normal(-0.42, 0.62)"
    with pytest.raises(ValueError, match="outcome: no name 'mortality'"):
        turner_prior("mortality")
    with pytest.raises(ValueError, match="comparison: no name 'drug vs placebo'"):
        turner_prior("pain", "drug vs placebo")


def test_three_levels_without_a_prior():
    """metafor's rma.mv, REML, and Konstantopoulos's Tables 4 and 5."""
    table = hm.meta(konstantopoulos(), study="district/school").classical
    reml = table.loc["REML"]
    assert reml["estimate"] == pytest.approx(0.18471316, abs=1e-7) and reml["se"] == pytest.approx(
        0.084555919, abs=1e-7
    )
    assert reml["tau_district"] ** 2 == pytest.approx(0.06506194, abs=1e-7) and reml[
        "tau_district:school"
    ] ** 2 == pytest.approx(0.03273652, abs=1e-7)
    np.testing.assert_allclose(
        [*table.loc["ML", ["estimate", "se"]], *table.loc["ML", ["tau_district", "tau_district:school"]] ** 2],
        [0.1845, 0.0805, 0.0577, 0.0329],
        atol=6e-5,
    )


def test_probabilities_by_quadrature():
    found = analysis("crins", priors={"mean": "normal(0, 4)", "tau": "half_normal(0.5)"}, interval="shortest")
    assert found.probability("tau > 1") == pytest.approx(0.02097488, abs=2e-6)  # Röver 2020
    assert found.probability("1 >= tau") == pytest.approx(1 - 0.02097488, abs=2e-6)
    with pytest.raises(ValueError, match=r"expected one quantity and one number, e.g. 'mean > 0'"):
        found.probability("mean > tau")
    with pytest.raises(ValueError, match="no quantity 'mu'"):
        found.probability("mu > 0")


@pytest.mark.slow
def test_probabilities_of_every_study():
    found = analysis("crins", priors={"mean": "normal(0, 4)", "tau": "half_normal(0.5)"})
    each, draws = found.probability("theta < -1"), found.fit.probability("theta_study < -1")
    assert list(each.index) == list("123456")
    assert (abs(each - draws["probability"]) < 5 * draws["mcse"].fillna(0) + 1e-3).all()
