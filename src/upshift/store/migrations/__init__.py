"""By which steps does a PostgreSQL database come to hold a ledger and a journal?

A step is frozen once it was released. Within a major version steps only add, so that programs from before a step and
after it work side by side; see `store` in the first one.
"""
