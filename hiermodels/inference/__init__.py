"""How a posterior is computed: one sampler a file, the file's name is the function's.

- `nuts` moves along the gradient: on the hyperparameters alone where the model factorises, else on everything.
- `exact` gives independent draws and quadrature summaries where the hyperparameters are few.

`hiermodels.inference.samplers` runs any of them by name; `draws` and `diagnostics` are what they return and how it is judged.
"""

__all__ = ["exact", "nuts"]
