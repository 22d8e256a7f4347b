#!/usr/bin/env python3
"""A server that learns from Envoy who has connected, and says so to the client.

Envoy sends a header of the PROXY protocol, version 2, before all else, to servers of TCP services with
RELAY_n_TLS_TERMINATE and RELAY_n_PROXY_PROTOCOL=v2. proxytlv.go says what the values mean. Take
connections from your Envoys only: whoever else connects can send any header.
"""

import ipaddress
import socket
import socketserver
import struct
import sys

URIS, SUBJECT, FINGERPRINT, SERIAL, DNS_NAMES, SERVER_NAME, NOT_AFTER, ISSUER = range(0xE0, 0xE8)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def read_exactly(stream, size):
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("the header of the PROXY protocol is cut off")
    return data


def read_header(stream):
    """Return the client's address (None if Envoy connects for itself) and a dict of values by type."""
    head = read_exactly(stream, 16)
    signature, command, family, size = head[:12], head[12], head[13], struct.unpack("!H", head[14:])[0]
    rest = read_exactly(stream, size)
    if signature != SIGNATURE or command not in (0x20, 0x21):
        raise ValueError("no header of the PROXY protocol, version 2")
    if command == 0x20:
        return None, {}
    length = {0x11: 4, 0x21: 16}.get(family)
    if length is None or size < 2 * length + 4:
        raise ValueError("no address that this server knows")
    client = (str(ipaddress.ip_address(rest[:length])), struct.unpack("!H", rest[2 * length : 2 * length + 2])[0])
    values, rest = {}, rest[2 * length + 4 :]
    while rest:
        if len(rest) < 3 or len(rest) < 3 + struct.unpack("!H", rest[1:3])[0]:
            raise ValueError("a value is cut off")
        kind, end = rest[0], 3 + struct.unpack("!H", rest[1:3])[0]
        if kind in values and URIS <= kind <= ISSUER:
            raise ValueError("a value is there twice")
        # No two values may become one text, whatever bytes an authority has signed.
        values[kind] = rest[3:end].decode("utf-8", "surrogateescape")
        rest = rest[end:]
    return client, values


def device(values):
    """Return the only URI of the client's certificate; None if it has none, or more than one."""
    uris = values.get(URIS, "")
    return uris if uris and "," not in uris else None


class Handler(socketserver.StreamRequestHandler):
    timeout = 10  # seconds until more of the header has come, which Envoy sends at once

    def handle(self):
        try:
            client, values = read_header(self.rfile)
        except (ValueError, socket.timeout) as error:
            print("refused:", error, file=sys.stderr)
            return
        self.connection.settimeout(None)
        told = f"you are {device(values)}, certificate {values.get(FINGERPRINT)}, from {client}\n"
        self.wfile.write(told.encode("utf-8", "surrogateescape"))
        for line in self.rfile:
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler) as server:
        print("listens on port", server.server_address[1], flush=True)
        server.serve_forever()
