"""How a way of estimating is judged: simulate, fit, summarise, score, and keep what came out.

Which module do I want?

- I have a YAML file or a dict and want it checked and completed: `hiermodels.studies.config`.
- I want datasets with known truths: `hiermodels.studies.simulate`.
- I want a study run, resumed or extended: `hiermodels.studies.runner`; `hiermodels.run` does all of it.
- I have a table of estimates and want bias, coverage, MSE, ... each with its Monte Carlo standard error:
  `hiermodels.studies.measures`, whose function `performance` turns the long table of estimates into the long
  table of performance. The nouns that a measure reads and writes, `Errors` and `Measure`, live in
  `hiermodels.studies.montecarlo`; how a long table is cut into cells, in `hiermodels.studies.tables`.
- I have a run folder and want its tables, or write into one: `hiermodels.studies.results`; whether a
  folder may be continued with this configuration: `hiermodels.studies.identity`.

Nothing is imported here: each module is loaded when it is asked for.
"""
