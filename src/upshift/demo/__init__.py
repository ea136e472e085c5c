"""The demo: a day in the life of a platform, in a minute, with nothing faked but the provider.

plan.yaml   two tenants, four workloads, three overage rules     replay   a real trace through real SDK clients
story       who calls what                                       report   what happened, read from the ledger
run         starts and stops the processes
"""
