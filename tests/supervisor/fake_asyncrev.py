"""`asyncrev serve` whose workers are fake ones; `--processor fake:fails` has them misbehave."""

import os
import sys

from asyncrev.command import entry, supervising
from asyncrev.supervisor.process import Command

ARGUMENTS = [sys.executable, "-S", "-m", "tests.supervisor.fake_worker"]

supervising.worker_command = lambda: Command(ARGUMENTS, dict(os.environ))
entry.main()
