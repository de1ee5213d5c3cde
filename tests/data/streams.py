"""Live video for tests: servers that send an endless film by HTTP and RTSP."""

import http.server
import io
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

TS_PACKET = 188


def transport_stream(frames: int, rate: int = 25) -> bytes:
    """Return an MPEG transport stream of grey frames, 48 pixels high and 64 wide, that become brighter."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        stream: Any = container.add_stream("mpeg2video", rate=rate, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            image = np.full((48, 64, 3), min(255, 20 + 5 * index), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


class StreamServer(http.server.ThreadingHTTPServer):
    """Sends a film to whoever asks, in real time or faster, and then hangs up."""

    daemon_threads = True

    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _StreamHandler)
        self.content, self.seconds = content, seconds
        self.connections = 0
        self.refused = False
        self.address = f"live:http://127.0.0.1:{self.server_port}/stream.ts"

    def handle_error(self, *_: object) -> None:
        """Say nothing of readers that hang up."""


class _StreamHandler(http.server.BaseHTTPRequestHandler):
    server: StreamServer

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.connections += 1
        if self.server.refused:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        send_slowly(self.wfile.write, self.server.content, self.server.seconds)


def send_slowly(send: Any, content: bytes, seconds: float) -> None:
    pieces = [content[start : start + TS_PACKET * 4] for start in range(0, len(content), TS_PACKET * 4)]
    for piece in pieces:
        send(piece)
        time.sleep(seconds / len(pieces))


class RtspServer(socketserver.ThreadingTCPServer):
    """The few words of RTSP (RFC 2326) by which a player gets a transport stream over the same connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _RtspHandler)
        self.content = content
        self.address = f"rtsp://me:secret@127.0.0.1:{self.server_address[1]}/camera"

    def handle_error(self, *_: object) -> None:
        """Say nothing of readers that hang up."""


class _RtspHandler(socketserver.StreamRequestHandler):
    server: RtspServer

    def handle(self) -> None:
        while request := self.rfile.readline().decode():
            headers = {}
            while (line := self.rfile.readline().decode().strip()) != "":
                key, _, value = line.partition(":")
                headers[key.lower()] = value.strip()
            method, address = request.split()[:2]
            self.answer(method, address, headers)
            if method == "PLAY":
                self.play()

    def answer(self, method: str, address: str, headers: dict[str, str]) -> None:
        lines = ["RTSP/1.0 200 OK", f"CSeq: {headers['cseq']}"]
        body = ""
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}", f"Content-Base: {address}/"]
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7"]
        else:
            lines.append("Session: 7")
        self.wfile.write("\r\n".join([*lines, "", body]).encode())

    def play(self) -> None:
        number = 0

        def send(piece: bytes) -> None:
            nonlocal number
            packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 3600, 1) + piece
            self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
            number += 1

        send_slowly(send, self.server.content, 1.0)


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    """Run a server in a thread until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
