"""`python -m sdstudio …`: the command, where no script of that name is on the path."""

import sys

from sdstudio.cli import main

if __name__ == "__main__":
    sys.exit(main())
