"""Shell that lets many gateway processes share one ledger: one process, the keeper, decides for all of them.

messages   what the two say to each other                proof   how each shows that it knows the secret
remote     the ledger that a gateway holds               line    its connection to whoever is the keeper now
keeper     all that the keeper knows of its gateways     session what it knows of one, and how it answers
learnt     claims called by a number                 receipts what is told and not yet on disk
ruling     the gate's rule on a gateway's offer          server  the keeper's sockets
address    where the keeper listens                       eager   coroutines that seldom have to wait
clock      time that goes on while a machine sleeps
candidate  who becomes the keeper, and stops in time
"""
