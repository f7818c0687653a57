"""Basket trials, exactly: designs, analyses, operating characteristics."""
