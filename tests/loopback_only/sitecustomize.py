"""Python imports this as it starts: processes that tests start connect to loopback only, either."""

import sys


def _hear(event: str, arguments: tuple) -> None:
    if event != "socket.connect":
        return
    sock, address = arguments
    family, kind = int(sock.family), int(sock.type)
    # A datagram socket sends nothing when it is connected: libraries learn their address so.
    if family not in (2, 10) or kind & 0xF != 1:  # AF_INET, AF_INET6; SOCK_STREAM
        return
    host = str(address[0])
    if host != "localhost" and not host.startswith(("127.", "::1", "::ffff:127.")):
        raise OSError(f"A process of a test tried to connect to {host}: tests use loopback only.")


sys.addaudithook(_hear)
