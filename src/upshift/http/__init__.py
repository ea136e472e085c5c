"""HTTP/1.1 on sockets, both sides; knows nothing of what is served.

exchange    what a handler sees of one request      head       heads as bytes, and which are refused as injection
server      listening, sweeping, shutdown           connection one client's connection: parse, queue, answer
limits      what a client may send                  answering  one answer on such a connection
client      keep-alive pool to one origin           link       one connection to an origin, and its response
repeat      heads that come again and again
asgi        the same handlers under any ASGI server
"""
