"""Numbers that the models of the lectures must give, and the library's computation of each.

- `table` reads ``targets.csv`` and says how close is close enough;
- a module a theme computes: `normal`, `baseball`, `james_stein`, `eight_schools`, `rats`, `scores`, `individuals`,
  `counts`,
  `exchangeability`, `propriety`; each function gives its numbers by name;
- `quadrature` and `chains` name the summaries of a posterior for all of them.

`hiermodels.verify` compares the two.
"""
