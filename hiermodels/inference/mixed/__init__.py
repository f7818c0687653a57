"""Normal models by restricted (REML) and ordinary maximum likelihood, from cross products: `hiermodels.estimate` is
the front door.
"""
