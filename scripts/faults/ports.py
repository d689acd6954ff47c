"""Ports that stay one's own while nobody listens on them."""

from __future__ import annotations

import socket


def held_port() -> socket.socket:
    """Return a socket that holds a free loopback port until it is closed.

    A server may listen there meanwhile, since servers set SO_REUSEADDR; nobody is given that port by chance, neither
    a server that asks for any nor a client, and who connects before a server listens is refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
