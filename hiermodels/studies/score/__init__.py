"""Measures of performance with their Monte Carlo errors, decisions, and the tables of both."""
