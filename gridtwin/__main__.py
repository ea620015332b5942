"""`python -m gridtwin` is the command line."""

from gridtwin.cli import main

main()
