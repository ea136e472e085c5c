"""Shell of the command line: thin commands over app and admin.

root      what commands there are     lazy      loading only the one that is asked for
terminal  options, output, failures   logs      what is logged, and how
starting  serve: gateway and admin    child     the admin process, watched over
"""

from upshift.cli.root import main

__all__ = ["main"]
