"""Shell of what happens by itself, away from the request path.

notify   sends each alert once, by e-mail and webhook
drill    asks every second route whether it serves, by calls of our own
discover asks local servers which models they have
reach    one provider, asked beside all traffic
"""
