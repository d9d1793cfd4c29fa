"""Optimizers of other libraries as a thread's optimizer, a library a file.

    pycma, cmaes, nevergrad, evosax    the libraries, each an extra of this package
    engine    what a library's search is asked to do, and what all of them are prepared with
    replay    the optimizer around an engine: its state is all that the library was told

In a session file: `optimizer = "pycma"`, `"cmaes"`, `"nevergrad"` or `"evosax"`, and in
`optimizer_options` the step size, `algorithm` (of the last three), and what else each takes.
A library is imported when one of its optimizers is made.
"""
