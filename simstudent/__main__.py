"""``python -m simstudent``."""

import sys

from simstudent.cli import main

if __name__ == "__main__":
    sys.exit(main())
