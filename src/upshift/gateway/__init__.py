"""Shell of the request path.

flow      the one function a call goes through      accept    reading a request off the socket
call      reaching providers                        answer    writing to the client
regime    what is in force, reloaded when it moves  accounts  the ceilings of a user, remembered per period
doors     everything that is not a call: models, budget view, health
"""
