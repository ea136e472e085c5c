"""Rules of one request, pure: no I/O, no clock, no randomness, no logging.

snapshot   what is in force          identify   whose call it is        dispatch   which workload and model
gate       may it spend              police     may it say this         route      which attempts, in which order
price      what tokens cost          meter      what was used           outlook    how long an answer will be
targets    which providers may serve health     which of them are well  attempts   what is tried next
affinity   where a session's cache is vendors   how much hangs on one   drills     what if one were out
alerts     when a threshold speaks   disclose   what the caller is told wire/      one file per dialect
"""
