"""How datasets come about: designs, truths, simulators, deviations from the model, NumPyro functions."""
