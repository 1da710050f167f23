"""`python -m asyncrev` is `asyncrev`."""

from asyncrev.entry import main

if __name__ == "__main__":
    main()
