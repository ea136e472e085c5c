"""Shell: the console, where people see what happens and act on it."""
