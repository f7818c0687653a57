"""How a posterior is computed: one sampler a file, the file's name is the function's.

- `nuts` moves along the gradient: on the hyperparameters alone where the model factorises, else on everything.
- `exact` gives independent draws and quadrature summaries where the hyperparameters are few.
- `closed_form` gives independent draws where the posterior is in closed form; `laws` has its moments and quantiles.
- `gibbs` draws groups and hyperparameters in turn, as lectures do; `metropolis` is a random walk on everything. Both are there for
  comparison: their effective sample sizes say what `nuts` and `exact` are for.

`hiermodels.inference.samplers` runs any of them by name; `draws` and `diagnostics` are what they return and how it is judged.

Estimators without a posterior stand beside them, as functions of plain arrays and as methods of a study: `estimators` (James-Stein,
empirical Bayes and their like) and `frequentist` (random-effects means, cluster-randomised trials); `direct` puts them on a model.
"""

__all__ = ["closed_form", "exact", "gibbs", "metropolis", "nuts"]
