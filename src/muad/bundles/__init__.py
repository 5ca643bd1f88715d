"""One file that holds a trained run for the line: networks, limits, products, and the samples it is measured by.

`manifest` says what must be in it, `bundle` opens one and trusts nothing, `writing` makes one. What runs its networks
is in `runtime/`.
"""
