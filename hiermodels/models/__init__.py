"""What we believe: declarations, and what follows from them.

- `spec.Model` declares; `data.bind` lets it meet data; `display` prints it.
- `priors` and `families` are the menus a declaration chooses from.
- `catalogue` has the classic models as plain NumPyro functions; `builder` makes such a function of any declaration.
- `factorise` splits a posterior into hyperparameters and the exact law of everything else given them.
"""

import warnings

# numpyro imports tqdm's progress bars, which miss ipywidgets in a notebook; nothing here shows them
warnings.filterwarnings("ignore", message="IProgress not found")
