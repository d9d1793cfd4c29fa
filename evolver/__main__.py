"""Runs the command line: ``python -m evolver``."""

from evolver.cli.app import main

if __name__ == "__main__":
    main()
