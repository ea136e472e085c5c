"""Shell of memory: what the gateway and the admin API need to remember, and the engines that do.

ledger         the contract of counters and entries    journal         the contract of plans, keys, reports
sqlite_ledger  the embedded engine of the first        sqlite_journal  and of the second, in the same file
counter        a balance and its queue                 marks           who waits for the disk
writer         the thread that commits                 group           one commit: entries, records, counters, digest
recovery       closing what a crash left open          verify          checking a file from end to end
schema         the tables                              rows            entries to rows and back
reports        sums over calls                         lock            one gateway per file
"""
