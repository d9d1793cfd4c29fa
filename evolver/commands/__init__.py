"""Groups of sub-commands, a file each; `evolver.cli` mounts them."""
