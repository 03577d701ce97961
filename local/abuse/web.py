"""Plain HTTP with the status as a value, and the pages that health checks probe."""

import collections
import http.server
import json
import threading
import time
import urllib.error
import urllib.request

PAGE_BYTES = 256 * 1024
TARPIT_SECS = 15


class Statuses:
    """Counts the answered statuses of all threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self.counts: collections.Counter = collections.Counter()

    def add(self, status: int) -> None:
        with self._lock:
            self.counts[status] += 1

    def server_errors(self) -> dict[int, int]:
        return {status: count for status, count in self.counts.items() if status >= 500}


def request(method: str, url: str, headers: dict | None = None, body: bytes | None = None) -> tuple[int, bytes]:
    """Returns status and body, also of an error. Waits longer than the API's own 30 s."""
    sent = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Tenant:
    """A registered app and its key."""

    def __init__(self, env: dict[str, str], app_id: str, health_urls: list | None = None):
        self.env, self.app_id, self.statuses = env, app_id, Statuses()
        body = {"app_id": app_id, "name": app_id, **({"health_urls": health_urls} if health_urls else {})}
        status, answer = self._send("POST", "/apps", {"X-Admin-Key": env["ADMIN_KEY"]}, body)
        if status != 201:
            raise RuntimeError(f"POST /apps answered {status}: {answer[:300]!r}")
        self.api_key = json.loads(answer)["data"]["api_key"]

    def call(self, method: str, path: str, body=None, headers: dict | None = None) -> tuple[int, dict]:
        """Returns the status and JSON of an answer; sends the tenant's key unless other headers are given."""
        status, answer = self._send(method, path, headers or {"X-API-Key": self.api_key}, body)
        return status, json.loads(answer or b"{}")

    def upload(self, content: bytes, url: str | None = None) -> tuple[int, str]:
        """Requests a URL, unless one is given, and puts the file there; returns status and key."""
        key = ""
        if url is None:
            status, given = self.call("POST", "/presigned-url", {"filename": "app.log.gz"})
            if status != 200:
                return status, key
            url, key = given["presignedUrl"], given["key"]
        status, _ = request("PUT", url, {"Content-Type": "application/gzip"}, content)
        self.statuses.add(status)
        return status, key

    def _send(self, method: str, path: str, headers: dict, body) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {**headers, "Content-Type": "application/json"} if data else headers
        status, answer = request(method, f"{self.env['API_URL']}{path}", headers, data)
        self.statuses.add(status)
        return status, answer


class Pages(http.server.ThreadingHTTPServer):
    """`/ok` answers at once, `/page` has the most bytes that a probe reads, `/tarpit` answers too late."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Page)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Page(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        if self.path.startswith("/tarpit"):
            time.sleep(TARPIT_SECS)
        body = b"a" * PAGE_BYTES if self.path.startswith("/page") else b"ok"
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)
        except OSError:
            pass  # the probe closed the connection

    def log_message(self, *_):
        pass
