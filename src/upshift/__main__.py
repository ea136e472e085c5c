"""How does `python -m upshift` start? As the command line does."""

from upshift.cli import main

if __name__ == "__main__":
    main()
