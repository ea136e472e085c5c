"""Rules of evidence: what was measured, what is usual, and whether it has become worse; pure, on numpy and scipy.

measurement  metrics, scopes, figures     metrics     values from records
baseline     what is usual, frozen        pattern     hours of the day, memory of values
eprocess     the tests themselves         tally       what a stage has shown, in sums
weigh        tests applied to two sides   regression  verdicts
detectable   what a stage can tell, before it begins
"""
