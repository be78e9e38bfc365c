"""`python -m wolfscale.container`: the image's entry point."""

from wolfscale.container.entrypoint import main

main()
