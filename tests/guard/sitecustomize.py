"""Refuse every connection that leaves this machine.

Python imports this file at start-up where PYTHONPATH names its folder. What was refused is
also appended to the file that SOCKET_GUARD_LOG names, for a library may swallow the error.
"""

import ipaddress
import os
import sys

EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
LOCAL = {"localhost", "localhost.localdomain", "ip6-localhost", "", None}


def host_of(event: str, args: tuple) -> object:
    """The host that an audit event of the socket module names; None for sockets without one, such as Unix sockets."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        return args[0]
    address = args[-1]
    return address[0] if isinstance(address, tuple) and address else None


def is_local(host: object) -> bool:
    """True for this machine's own names and addresses."""
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if host in LOCAL:
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def guard(event: str, args: tuple) -> None:
    """The audit hook."""
    if event in EVENTS and not is_local(host := host_of(event, args)):
        if log := os.environ.get("SOCKET_GUARD_LOG"):
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{os.getcwd()}: {event} {host}\n")
        raise PermissionError(f"the course's pages use no network: {event} to {host!r} was refused")


sys.addaudithook(guard)
