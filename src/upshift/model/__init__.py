"""Nouns: frozen values that cross the wire, the store or two folders. No rule decides here and nothing does I/O.

ids        names of things        money      nano-dollars           tokens     token counts of one call
span       calendar periods       budget     ceilings and balances  entry      what the ledger appends
metered    the record of a call   refusal    one way to say no      key        who may call
"""
