"""Rules of long-lived change: what a playbook says, where a run of it stands, and what comes next; pure.

book      phases, criteria, windows, actions     run      what was recorded of a run, and its fold
facts     what checks are told                   checks   the answers of each, by name
advance   what comes next                        standing which interfaces and shares of traffic are in force
notices   what is told to whom                   story    a run in words: its timeline and post-mortem
books/    the playbooks that ship, as YAML
"""
