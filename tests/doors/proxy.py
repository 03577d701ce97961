"""A proxy before the API whose first answers to writes are lost: it forwards a request, and closes the connection."""

import http.server
import threading
import urllib.error
import urllib.request


class Proxy:
    """`url` is that of the API, at the root of a host. `lost` counts the answers that were lost so far."""

    def __init__(self, api_url: str, answers_to_lose: int):
        self.api_url, self.left, self.lost, self.requests = (
            api_url,
            answers_to_lose,
            0,
            0,
        )
        self.lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                proxy.handle(self)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request) -> None:
        body = _body(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        forwarded = urllib.request.Request(
            self.api_url + request.path,
            method=request.command,
            headers=headers,
            data=body,
        )
        try:
            with urllib.request.urlopen(forwarded, timeout=60) as answer:
                status, answered, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, answered, content = error.code, error.headers, error.read()
        with self.lock:
            writes = request.command in ("POST", "PUT")
            self.requests += writes
            loses = writes and self.left > 0
            self.left -= loses
            self.lost += loses
        if loses:
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in answered.items():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)


HOP_BY_HOP = {
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "date",
    "server",
    "expect",
}


def _body(request) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    chunks = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(chunks)
