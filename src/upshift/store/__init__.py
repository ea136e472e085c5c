"""Shell of memory: what the gateway and the admin API need to remember, and the engines that do.

ledger           the contract of counters and entries  journal           the contract of plans, keys, reports
counting         who decides: counters in memory       backend           what a database must do for it
counter          a balance and its queue               marks             who waits for the disk
writer           the thread that commits               draft             entries to rows, sums and digest
recovery         closing what a crash left open        verify            checking a ledger from end to end
rows             entries to rows and back              reports           sums over calls
schema           the tables, in an SQLite file         lock              one process per file
sqlite_ledger    the ledger in a file                  group             one commit to it
sqlite_journal   the journal in the same file          sql_journal       what journals have in common
migrate          the tables, in PostgreSQL             migrations        the steps to them
postgres         connections that do not hang          postgres_schema   versions and partitions
postgres_ledger  the ledger in a database              postgres_groups   one commit to it
keeper_seat      one process per database              postgres_verify   checking it
postgres_journal the journal in a database             postgres_decision one decision, beside the keeper
postgres_reports sums over totals and calls            rollup            totals by hour and day
away             going on without a database    away_log          the file that outlasts it
replay           telling the database of it
retention        dropping old months                   condition         version and sizes
place            a file or a database                  engines           which engine serves it
move             from one to another               spans             where calls are that somebody looks for
"""
