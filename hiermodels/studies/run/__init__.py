"""A study run to its end: schedules, executors, clusters, rounds; its tables, replicates, exchanges, comparisons."""
