"""A server on 127.0.0.1 that answers as it is told, byte by byte, and so can break every rule of HTTP."""

import re
import socketserver
import threading

LINE_END = b"\r\n"


def answer(status, body=b"", **headers):
    """An answer as bytes. headers: Content_Length=5, ...; that of ``body`` is said unless it is given, or None."""
    headers = {"Content_Length": len(body)} | headers
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} x", *lines, "", ""]).encode("latin-1") + body


def chunked(status, *chunks, **headers):
    """An answer in chunks, without the empty one that ends it."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return answer(status, body, Content_Length=None, Transfer_Encoding="chunked", **headers)


def drip(start, unit=b"x"):
    """First ``start``, then ``unit`` every 20 milliseconds for ever: never silent, never done."""

    def fault(connection, server):
        connection.sendall(start)
        while not server.closing.wait(0.02):
            connection.sendall(unit)

    return fault


def silence(start=b""):
    """First ``start``, then nothing."""

    def fault(connection, server):
        connection.sendall(start)
        server.closing.wait(10)

    return fault


class HostileServer(socketserver.ThreadingTCPServer):
    """Serves ``content`` under every address, with ranges, after it has given all the answers in ``faults``.

    faults: taken from the front, one per request: bytes to send, or a function of the connection and this server.
    requests: the bytes that were received, one entry per request.
    """

    daemon_threads = allow_reuse_address = True
    request_queue_size = 50

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.bin"
        self.content, self.faults, self.requests = content, [], []
        self.closing = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """The other side hung up: no wonder."""

    def right_answer(self, request):
        match = re.search(rb"\r\nRange: bytes=(\d+)-\r\n", request)
        start, length = int(match[1]) if match else 0, len(self.content)
        if not match:
            return answer(200, self.content)
        if start >= length:
            return answer(416)
        return answer(206, self.content[start:], Content_Range=f"bytes {start}-{length - 1}/{length}")


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        request = b""
        while not request.endswith(2 * LINE_END):
            if not (received := self.request.recv(1 << 16)):
                return
            request += received
            if not request.startswith(b"GET "):
                return self.request.sendall(answer(400))
        self.server.requests.append(request)
        fault = self.server.faults.pop(0) if self.server.faults else self.server.right_answer(request)
        if callable(fault):
            fault(self.request, self.server)
        else:
            self.request.sendall(fault)
