"""Shell of administration, in a process of its own, so that no report can slow a call.

desk     what an administrator may do, checked and recorded; used by the API and the command line alike
views    what is shown of it          budgets  how much of which budget is used      reports  what was used, by what
moments  7d, 2026-11-01               amounts  100k, $5
api      the same over HTTP           routes   what can be asked       door  who may come in     problems  errors
served   the admin process
"""
