"""How a posterior is computed, and what is made of its draws.

`hiermodels.inference.samplers` is the menu of samplers, a class each; the algorithms that need room stand beside it
(`nuts`, `exact`, `gibbs`, `metropolis`, `closed_form`), as functions of a density or a factorised model. `laws` has
moments and quantiles of what is in closed form; `draws` and `diagnostics` are what samplers return and how it is
judged.

Estimators without a posterior stand beside them, as functions of plain arrays and as methods of a study: `estimators`
(James-Stein, empirical Bayes and their like) and `frequentist` (random-effects means, cluster-randomised trials);
`direct` puts them on a model.
"""
