"""`python -m jaxasgd` is the `jaxasgd` command."""

import sys

from .cli import main

sys.exit(main())
