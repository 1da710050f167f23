"""`python -m asyncrev` is `asyncrev`, in what is searched for modules as well."""

import os
import sys

if (
    __name__ == "__main__"
    and not sys.flags.safe_path
    and os.path.isdir(sys.path[0])
    and os.path.samefile(sys.path[0], os.curdir)
):
    # -m puts it there (https://docs.python.org/3/library/sys.html#sys.path), so that any file of
    # the current directory stands in for the module of its name. `loading` appends it.
    del sys.path[0]

from asyncrev.command.entry import main

if __name__ == "__main__":
    main()
