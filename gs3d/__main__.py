"""`python -m gs3d` is `gs3d`."""

import sys

from gs3d.cli.main import main

sys.exit(main())
