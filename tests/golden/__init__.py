"""Numbers and texts recorded at one commit and compared at another; see `tests.golden.__main__`."""
