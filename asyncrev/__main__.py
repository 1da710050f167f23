"""`python -m asyncrev` is `asyncrev`."""

from asyncrev.cli import main

if __name__ == "__main__":
    main(prog_name="asyncrev")
