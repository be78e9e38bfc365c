"""`python -m wolfscale` is the `wolfscale` command."""

from wolfscale.cli import main

if __name__ == "__main__":
    main()
