"""Where does the keeper listen, and what do those know who may speak to it?"""

import msgspec


class Address(msgspec.Struct, frozen=True):
    """A socket and the secret of those who use it."""

    where: str
    """`unix:PATH`, or `tcp:HOST:PORT` with an IPv6 address in brackets."""
    secret: str

    @property
    def path(self) -> str:
        """The path of a Unix socket; empty for any other."""
        return self.where[5:] if self.where.startswith("unix:") else ""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Those of a TCP socket. Raises ValueError for anything else."""
        kind, _, rest = self.where.partition(":")
        host, _, port = rest.rpartition(":")
        if kind != "tcp" or not host or not port.isdigit():
            raise ValueError(f"{self.where!r} is no address; expected unix:PATH or tcp:HOST:PORT")
        return host.removeprefix("[").removesuffix("]"), int(port)

    def __repr__(self) -> str:
        return f"Address({self.where!r})"


def tcp(host: str, port: int) -> str:
    """How an address of TCP is spelt."""
    return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
