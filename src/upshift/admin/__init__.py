"""Shell of administration, in a process of its own, so that no report can slow a call.

desk     what an administrator may do, checked and recorded; used by the API and the command line alike
api      the same over HTTP          served   the admin process
"""
