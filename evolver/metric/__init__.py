"""A generator's image metric: how far an image moves when its code does.

    file       the metric as eigenvalues and eigenvectors, and the files it comes in
    products   Hessian-vector products, and the leading directions at one code
    average    the metric averaged over many codes; what is finished is kept

Importing this loads no torch; `products` and `average` do.
"""

from evolver.metric.file import (
    Metric,
    Provenance,
    check_generator,
    make_metric,
    read_metric,
    read_provenance,
    write_metric,
)

__all__ = [
    "Metric",
    "Provenance",
    "check_generator",
    "make_metric",
    "read_metric",
    "read_provenance",
    "write_metric",
]
