"""`python -m spoolmw.daemon`: the same as `spoolmwd`."""

from __future__ import annotations

import sys

from spoolmw.daemon.main import main

sys.exit(main())
