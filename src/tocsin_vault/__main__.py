"""`python -m tocsin_vault`."""

from .cli import main

if __name__ == "__main__":
    main()
