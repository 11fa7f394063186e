"""``python -m simstudent``, also for launchers: ``accelerate launch -m simstudent sft recipes/qwen8b.yaml``."""

import sys

from simstudent.cli import main

if __name__ == "__main__":
    sys.exit(main())
