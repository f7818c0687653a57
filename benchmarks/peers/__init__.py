"""The peers: each fits the explicit model as its users write it, and this library's marginal density."""
