"""Whether posteriors are calibrated: ranks, their tests, prior and posterior SBC."""
