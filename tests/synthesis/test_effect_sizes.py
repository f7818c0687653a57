"""`effect_sizes`: the numbers of R's metafor, by measure and treatment of zero cells; what cannot be is refused by
row.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.synthesis import MEASURES, sampling_covariance

ARMS = pd.DataFrame(
    {
        "a": [4, 0, 12, 0, 30, 15],
        "n1": [123, 20, 40, 15, 30, 60],
        "c": [11, 3, 0, 0, 25, 20],
        "n2": [139, 25, 38, 17, 30, 58],
    }
)
TIMES = pd.DataFrame({"x1": [5, 0, 12, 0], "t1": [100, 50, 220, 30], "x2": [9, 4, 0, 0], "t2": [110, 45, 210, 33]})
STAYS = pd.DataFrame(
    {
        "m1": [55, 27, 64, 66],
        "s1": [47, 7, 17, 20],
        "n1": [155, 31, 75, 18],
        "m2": [75, 29, 119, 137],
        "s2": [64, 4, 29, 48],
        "n2": [156, 32, 71, 18],
    }
)
SHARES = pd.DataFrame({"x": [5, 0, 12, 20], "n": [30, 17, 40, 20]})
RATES = pd.DataFrame({"x": [5, 0, 12], "t": [30, 17.5, 40]})
PAIRS = pd.DataFrame({"r": [0.3, -0.5, 0, 0.92], "n": [30, 17, 40, 6]})
ONE = pd.DataFrame({"m": [5, 2, 12], "s": [3, 1.5, 4], "n": [30, 17, 40]})
COUNTS = {"events": "a", "n": "n1", "control_events": "c", "control_n": "n2"}
EVENTS = {"events": "x1", "time": "t1", "control_events": "x2", "control_time": "t2"}
MEANS = {"mean": "m1", "sd": "s1", "n": "n1", "control_mean": "m2", "control_sd": "s2", "control_n": "n2"}
SHARE, RATE, PAIR = {"events": "x", "n": "n"}, {"events": "x", "time": "t"}, {"correlation": "r", "n": "n"}
MEAN = {"mean": "m", "sd": "s", "n": "n"}

# metafor 3.8-1, escalc(measure=...), yi and sqrt(vi), on the tables above
ESCALC = [
    ("OR", ARMS, COUNTS, [-0.9386941409, -1.852819726, 3.519629979, 0.121360857, 2.576943504, -0.4567584025], [0.5975993242, 1.542381022, 1.463236736, 2.030186934, 1.501273044, 0.4064537838]),
    ("RR", ARMS, COUNTS, [-0.8893113339, -1.732336049, 3.168865404, 0.1177830357, 0.1790482314, -0.3215836241], [0.5706003549, 1.483116212, 1.424769711, 1.97026507, 0.08652423064, 0.2876779809]),
    ("RD", ARMS, COUNTS, [-0.04661636544, -0.1108058608, 0.292057536, 0.003472222222, 0.1612903226, -0.09482758621], [0.02792970936, 0.07474846869, 0.0741180016, 0.05824459442, 0.07224747209, 0.08378662575]),
    ("PETO", ARMS, COUNTS, [-0.8603833473, -1.392803902, 2.119177528, 0.1180555556, 1.81547619, -0.4506676954], [0.53182345, 1.040198514, 0.6025182739, 2.003469213, 0.8521681032, 0.4014322391]),
    ("AS", ARMS, COUNTS, [-0.1038355771, -0.3537416059, 0.5796397404, 0, 0.4205343353, -0.1040215132], [0.06189573068, 0.15, 0.1132649432, 0.1771229771, 0.1290994449, 0.09207068749]),
    ("IRR", TIMES, EVENTS, [-0.4924764851, -2.302585093, 3.172355809, 0.0953101798], [0.557773351, 1.490711985, 1.44222051, 2]),
    ("IRD", TIMES, EVENTS, [-0.03181818182, -0.09, 0.05443722944, 0.001515151515], [0.03526757226, 0.04921607687, 0.01641957159, 0.03185423643]),
    ("IRSD", TIMES, EVENTS, [-0.06243197902, -0.298142397, 0.2335496832, 0], [0.06908492797, 0.1027402334, 0.04823732815, 0.1261312448]),
    ("MD", STAYS, MEANS, [-20, -2, -55, -71], [6.364591358, 1.442444162, 3.962121118, 12.25651754]),
    ("SMD", STAYS, MEANS, [-0.3551696409, -0.3479400227, -2.31756916, -1.887982253], [0.1143008116, 0.2539072195, 0.2140376375, 0.400771426]),
    ("SMDH", STAYS, MEANS, [-0.3553416016, -0.3464890755, -2.301791534, -1.887982253], [0.1144157528, 0.2563920132, 0.2257086405, 0.4329301875]),
    ("ROM", STAYS, MEANS, [-0.3101549283, -0.07145896398, -0.6202404098, -0.7303261838], [0.09684566723, 0.05256203814, 0.04215699716, 0.1091845971]),
    ("PR", SHARES, SHARE, [0.1666666667, 0.02777777778, 0.3, 0.9761904762], [0.06804138174, 0.03873426049, 0.07245688373, 0.03326848243]),
    ("PLN", SHARES, SHARE, [-1.791759469, -3.583518938, -1.203972804, -0.02409755158], [0.4082482905, 1.394433378, 0.2415229458, 0.03407990883]),
    ("PLO", SHARES, SHARE, [-1.609437912, -3.555348061, -0.8472978604, 3.713572067], [0.4898979486, 1.434274331, 0.3450327797, 1.431356171]),
    ("PAS", SHARES, SHARE, [0.4205343353, 0, 0.5796397404, 1.570796327], [0.09128709292, 0.1212678125, 0.0790569415, 0.1118033989]),
    ("PFT", SHARES, SHARE, [0.4344035827, 0.1189705624, 0.5848755106, 1.460802338], [0.09053574604, 0.1195228609, 0.07856742013, 0.1104315261]),
    ("IR", RATES, RATE, [0.1666666667, 0.02857142857, 0.3], [0.07453559925, 0.04040610178, 0.08660254038]),
    ("IRLN", RATES, RATE, [-1.791759469, -3.555348061, -1.203972804], [0.4472135955, 1.414213562, 0.2886751346]),
    ("IRS", RATES, RATE, [0.4082482905, 0, 0.5477225575], [0.09128709292, 0.1195228609, 0.0790569415]),
    ("COR", PAIRS, PAIR, [0.3, -0.5, 0, 0.92], [0.1689827577, 0.1875, 0.1601281538, 0.06869200827]),
    ("ZCOR", PAIRS, PAIR, [0.3095196042, -0.5493061443, 0, 1.589026915], [0.1924500897, 0.2672612419, 0.1643989873, 0.5773502692]),
    ("MN", ONE, MEAN, [5, 2, 12], [0.5477225575, 0.3638034376, 0.632455532]),
    ("MNLN", ONE, MEAN, [1.609437912, 0.6931471806, 2.48490665], [0.1095445115, 0.1819017188, 0.05270462767]),
]  # fmt: skip


@pytest.mark.parametrize(("measure", "table", "columns", "effect", "se"), ESCALC, ids=[row[0] for row in ESCALC])
def test_metafors_numbers(measure, table, columns, effect, se):
    found = hm.effect_sizes(table, measure, **columns)
    np.testing.assert_allclose(found["effect"], effect, rtol=2e-9, atol=1e-12)
    np.testing.assert_allclose(found["se"], se, rtol=2e-9)
    assert list(found.columns[: table.shape[1]]) == list(table.columns) and found.attrs["measure"] == measure


def test_every_measure_is_checked():
    assert {row[0] for row in ESCALC} == set(MEASURES)


# metafor 3.8-1, escalc(..., to="all" or "if0all"), first and last study
ALL = {
    "OR": (-0.8656571056, -0.4466389469, 0.5703762319, 0.4015577976), "RR": (-0.8169087816, -0.3129212825, 0.5421912676, 0.2827614218),
    "RD": (-0.04585253456, -0.09335926646, 0.02864579645, 0.08336656157), "PETO": (-0.8023269102, -0.4408632027, 0.5158472373, 0.3968011389),
}  # fmt: skip


@pytest.mark.parametrize("zero_cells", ["all", "any"])
@pytest.mark.parametrize("measure", list(ALL))
def test_correction_of_every_row(measure, zero_cells):
    found = hm.effect_sizes(ARMS, measure, **COUNTS, zero_cells=zero_cells)
    assert found["corrected"].all()
    np.testing.assert_allclose([*found["effect"].iloc[[0, 5]], *found["se"].iloc[[0, 5]]], ALL[measure], rtol=2e-9)
    assert hm.effect_sizes(ARMS, measure, **COUNTS)["corrected"].tolist() == [False, True, True, True, True, False]


def test_without_correction_what_exists_is_metafors():
    kept = ARMS.iloc[[0, 1, 2, 4, 5]]
    found = hm.effect_sizes(kept, "PETO", **COUNTS, zero_cells="none")  # metafor, to="none"
    np.testing.assert_allclose(
        found["effect"], [-0.8603833473, -1.885714286, 2.275, 2.145454545, -0.4506676954], rtol=2e-9
    )
    with pytest.raises(ValueError, match=r"row 1: OR or its standard error does not exist there .*zero_cells='own'"):
        hm.effect_sizes(ARMS, "OR", **COUNTS, zero_cells="none")
    assert np.isfinite(hm.effect_sizes(ARMS, "OR", **COUNTS, zero_cells="any")["effect"]).all()


def test_non_events_stand_for_n():
    table = ARMS.assign(b=ARMS["n1"] - ARMS["a"], d=ARMS["n2"] - ARMS["c"])
    found = hm.effect_sizes(table, "or", events="a", non_events="b", control_events="c", control_non_events="d")
    np.testing.assert_array_equal(found["effect"], hm.effect_sizes(ARMS, "OR", **COUNTS)["effect"])


def test_peto_is_the_hypergeometric_law():
    law = stats.hypergeom(262, 15, 123)
    found = hm.effect_sizes(ARMS.iloc[:1], "PETO", **COUNTS).iloc[0]
    assert found["effect"] == pytest.approx((4 - law.mean()) / law.var()) and found["se"] == pytest.approx(
        law.var() ** -0.5
    )


TRIALS = pd.DataFrame(
    {
        "study": [1, 1, 2, 2, 2, 3, 3, 3], "arm": ["none", "one", "none", "one", "group", "group", "one", "none"],
        "x": [75, 363, 9, 23, 10, 0, 9, 2], "n": [731, 714, 140, 140, 138, 100, 205, 106],
    }
)  # fmt: skip


def test_arms_of_one_trial_share_their_control():
    found = hm.effect_sizes(TRIALS, "OR", events="x", n="n", study="study", arm="arm", control="none")
    assert found[["study", "arm", "control"]].values.tolist() == [
        [1, "one", "none"], [2, "one", "none"], [2, "group", "none"], [3, "group", "none"], [3, "one", "none"]
    ]  # fmt: skip
    assert found["corrected"].tolist() == [False, False, False, True, True]  # a trial's arms together
    covariance = sampling_covariance(found, "study")
    shared = [1 / 75 + 1 / 656, 1 / 9 + 1 / 131, 1 / 2.5 + 1 / 104.5]
    expected = np.diag(found["se"] ** 2)
    expected[1, 2] = expected[2, 1] = shared[1]
    expected[3, 4] = expected[4, 3] = shared[2]
    np.testing.assert_allclose(covariance, expected, rtol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > 0
    # the difference of two comparisons does not know the control arm
    contrast = covariance[1, 1] + covariance[2, 2] - 2 * covariance[1, 2]
    assert contrast == pytest.approx(1 / 23 + 1 / 117 + 1 / 10 + 1 / 128)


def test_without_a_control_named_the_first_arm_is():
    found = hm.effect_sizes(TRIALS, "RD", events="x", n="n", study="study", arm="arm")
    assert found["control"].tolist() == ["none", "none", "none", "group", "group"]


def test_standardised_differences_share_an_sd_too():
    table = pd.DataFrame(
        {"s": [1, 1], "m1": [3.0, 5.0], "s1": [2.0, 2.0], "n1": [20, 30], "m2": 2.0, "s2": 2.0, "n2": 25}
    )
    found = hm.effect_sizes(table, "SMD", **MEANS, shared_control="s")
    g = found["effect"].to_numpy()
    assert sampling_covariance(found, "s")[0, 1] == pytest.approx(1 / 25 + g[0] * g[1] / (2 * 75))
    draws = np.random.default_rng(1)
    z = [draws.standard_normal((20_000, n)) * 2 + m for n, m in ((20, 3.0), (30, 5.0), (25, 2.0))]
    pairs = []
    for arm in z[:2]:
        n = arm.shape[1]
        s = np.sqrt(((n - 1) * arm.var(1, ddof=1) + 24 * z[2].var(1, ddof=1)) / (n + 23))
        pairs.append((arm.mean(1) - z[2].mean(1)) / s)
    assert np.cov(pairs)[0, 1] == pytest.approx(1 / 25 + 0.5 * 1.5 / (2 * 75), rel=0.1)


def test_rows_that_share_a_control_must_agree():
    table = pd.DataFrame({"s": ["A", "A"], "a": [1, 2], "n1": [10, 10], "c": [3, 4], "n2": [12, 12]})
    with pytest.raises(
        ValueError, match=r"row 1: control_events is 4, but 3 in row 0 of the same control group \(s 'A'\)"
    ):
        hm.effect_sizes(table, "OR", **COUNTS, shared_control="s")
    with pytest.raises(ValueError, match="PETO has no known covariance"):
        hm.effect_sizes(table.assign(c=3), "PETO", **COUNTS, shared_control="s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [4, None, 12, 0, 30, 15]}, r"column 'a', row 1: expected a number of events, found nothing; fill it in or drop the row"),
        ({"a": [4, 21, 12, 0, 30, 15]}, r"column 'a', row 1: expected events of at most the arm's n, found 21"),
        ({"c": [4, 2, -1, 0, 30, 15]}, r"column 'c', row 2: expected at least 0 \(events\), found -1"),
        ({"n2": [139, 0, 38, 17, 30, 58], "c": 0}, r"column 'n2', row 1: expected at least one person in the arm, found 0"),
        ({"n1": [9, "many", 38, 17, 30, 58]}, r"column 'n1', row 1: expected numbers \(n\), found 'many'"),
        ({"effect": 1}, r"column 'effect' is there already"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        hm.effect_sizes(ARMS.assign(**change), "OR", **COUNTS)


@pytest.mark.parametrize(
    ("measure", "columns", "message"),
    [
        ("ORR", COUNTS, "no measure 'ORR'; the measures are OR, RR, RD, "),
        (None, COUNTS, "no measure None"),
        ("OR", {"events": "a"}, "n: measure OR needs this column, found none; it takes events, n, control_events, control_n"),
        ("OR", COUNTS | {"events": "aa"}, "no column 'aa' in the data; did you mean 'a'"),
        ("OR", COUNTS | {"time": "a"}, "time: measure OR has no such column"),
        ("OR", COUNTS | {"non_events": "a"}, "expected n or non_events, found both"),
        ("PR", {"events": "a", "n": "n1", "control_n": "n2"}, "control_n: measure PR has no such column"),
        ("OR", COUNTS | {"zero_cells": "if0"}, "zero_cells: expected one of own, all, any, none"),
        ("OR", COUNTS | {"correction": 0}, "correction: expected a positive number"),
        ("OR", COUNTS | {"control": "x"}, "control: expected the label of an arm"),
        ("PR", {"events": "a", "n": "n1", "arm": "c"}, "arm: measure PR compares no arms"),
    ],
)  # fmt: skip
def test_words_that_are_not_on_the_menu(measure, columns, message):
    with pytest.raises(ValueError, match=message) as caught:
        hm.effect_sizes(ARMS, measure, **columns)
    assert len(str(caught.value)) < 600


def test_other_numbers_that_cannot_be():
    with pytest.raises(ValueError, match=r"row 1: expected means of one sign"):
        hm.effect_sizes(STAYS.assign(m1=[55, -27, 64, 66]), "ROM", **MEANS)
    with pytest.raises(ValueError, match=r"column 's1', row 1: expected a positive sd, found 0"):
        hm.effect_sizes(STAYS.assign(s1=[47, 0, 17, 20]), "MD", **MEANS)
    with pytest.raises(ValueError, match=r"column 'r', row 3: expected a correlation between -1 and 1, found 1"):
        hm.effect_sizes(PAIRS.assign(r=[0.1, 0.2, 0.3, 1.0]), "ZCOR", **PAIR)
    with pytest.raises(ValueError, match=r"column 't1', row 0: expected a positive time, found 0"):
        hm.effect_sizes(TIMES.assign(t1=[0, 1, 1, 1]), "IRR", **EVENTS)
    with pytest.raises(ValueError, match=r"study 1 has one arm, row 0"):
        hm.effect_sizes(TRIALS.iloc[[0, 2, 3]], "OR", events="x", n="n", study="study", arm="arm")
    with pytest.raises(ValueError, match=r"control: no arm 'placebo' in column 'arm'; the arms are none, one, group"):
        hm.effect_sizes(TRIALS, "OR", events="x", n="n", study="study", arm="arm", control="placebo")
