"""How the built-in network and generators were made, and are made again from one seed."""
