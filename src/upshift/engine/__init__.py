"""Shell of what happens by itself, away from the request path.

notify   sends each alert once, by e-mail and webhook
"""
