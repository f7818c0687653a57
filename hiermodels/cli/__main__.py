"""``python -m hiermodels.cli``."""

from hiermodels.cli import main

main()
