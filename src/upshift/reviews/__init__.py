"""Rules of judgement: pure functions over what was recorded and what others say.

findings   verdicts on a bill        compare   figures against figures
buckets    sums by hour or day       requests  bills by request
reconcile  a bill against the record
"""
