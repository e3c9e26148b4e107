"""`python -m jaxasgd` is the `jaxasgd` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
