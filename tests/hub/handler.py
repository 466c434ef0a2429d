"""One request: read, logged, answered. Subclasses say what an origin serves.

A handler object lives as long as its connection, so everything about a request is set anew in serve().
"""
import gzip
import json
import socket
import struct
import time
import traceback
import uuid
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from . import faults
from .store import BLOCK

LOGGED_BODY = 100_000
ERROR = "application/json; charset=utf-8"


class HubError(Exception):
    """A reply that is an error: X-Error-Code and X-Error-Message as the Hub sends them."""

    def __init__(self, status, code, message, headers=None, body=None):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.body = headers or {}, body


class Slow:
    """A connection whose bytes trickle."""

    def __init__(self, out, seconds):
        self.out, self.seconds = out, seconds

    def write(self, data):
        for i in range(len(data)):
            self.out.write(data[i:i + 1])
            self.out.flush()
            time.sleep(self.seconds)
        return len(data)

    def __getattr__(self, name):
        return getattr(self.out, name)


class Torn:
    """A connection that breaks after some bytes."""

    def __init__(self, out, left):
        self.out, self.left = out, left

    def write(self, data):
        self.out.write(data[:self.left])
        self.out.flush()
        self.left -= min(self.left, len(data))
        if not self.left:
            raise ConnectionResetError("torn by a fault")
        return len(data)

    def __getattr__(self, name):
        return getattr(self.out, name)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin = "hub"
    scheme = "http"
    state = None             # set by server.py
    disable_nagle_algorithm = True
    wbufsize = -1            # headers and body leave together

    def log_message(self, *arguments):
        pass

    # ---- the request ----

    def serve(self):
        self.request_id = "Root=1-" + uuid.uuid4().hex
        url = urlsplit(self.path)
        self.route, self.query = url.path, parse_qs(url.query, keep_blank_values=True)
        self.fault = self.held = None
        self.holding = False
        self.record = {"origin": self.origin, "method": self.command, "path": self.path,
                       "headers": dict(self.headers.items()), "status": None}
        self.body_read = False
        with self.state.lock:
            self.state.log.append(self.record)
        try:
            self.fault = faults.find(self.state, self.origin, self.command, self.path)
            if self.fault:
                self.record["fault"] = {k: v for k, v in self.fault.items() if k not in ("times", "skip")}
            self.answer()
        except HubError as e:
            self.send_error_reply(e)
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            self.close_connection = True
        except Exception as e:
            traceback.print_exc()
            self.send_error_reply(HubError(500, None, f"Internal Error: {e!r}"))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def answer(self):
        if self.fault and faults.replace_reply(self, self.fault):
            return None
        if self.origin == "hub" and self.state.settings.delay:
            time.sleep(self.state.settings.delay)
        return self.dispatch()

    def dispatch(self):
        raise NotImplementedError

    def body_length(self):
        return int(self.headers.get("Content-Length") or 0)

    def read_body(self):
        """The whole body, logged up to LOGGED_BODY bytes; chunked bodies too."""
        if self.body_read:
            return self.body
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self.body = b"".join(self.chunks())
        else:
            self.body = self.rfile.read(self.body_length())
            if len(self.body) < self.body_length():
                raise ConnectionResetError("the body ended early")
        self.body_read = True
        self.record["body"] = self.body[:LOGGED_BODY].decode("utf-8", "replace")
        self.record["body_length"] = len(self.body)
        return self.body

    def chunks(self):
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            if size == 0:
                while self.rfile.readline().strip():
                    pass
                return
            yield self.rfile.read(size)
            self.rfile.readline()

    def json_body(self):
        try:
            return json.loads(self.read_body() or b"{}")
        except ValueError:
            raise HubError(400, None, "the body is not JSON") from None

    def base(self):
        return f"{self.scheme}://" + self.headers.get("Host", "127.0.0.1")

    # ---- the reply ----

    def hang_up(self, reset=False):
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def send_after(self, work, *arguments):
        """Does work under the lock; its reply, however slow, is sent after that."""
        self.holding = True
        try:
            with self.state.lock:
                work(*arguments)
        finally:
            self.holding = False
        self.send(*self.held)

    def send(self, status, body=b"", headers=None, kind=None):
        """A reply whose body is bytes, or an object that becomes JSON."""
        if self.holding:
            self.held = status, body, headers, kind
            return
        fault = self.fault or {}
        if isinstance(body, (dict, list)):
            if fault.get("json") and isinstance(body, dict):
                body = {**body, **fault["json"]}
            body, kind = json.dumps(body).encode(), kind or ERROR
        self.send_stream(status, [body], len(body), headers, kind)
        self.record["reply"] = body[:2000].decode("utf-8", "replace")

    def send_stream(self, status, pieces, length, headers=None, kind=None):
        fault = self.fault or {}
        if not self.body_read:
            self.drain()
        if fault.get("after") == "drop":
            self.record["status"] = "dropped after %d" % status
            return self.hang_up()
        all_headers = {"X-Request-Id": self.request_id, "RateLimit": '"api";r=499;t=120',
                       "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
        if kind:
            all_headers["Content-Type"] = kind
        all_headers.update(headers or {})
        if fault.get("gzip"):
            data = gzip.compress(b"".join(pieces))
            pieces, length = [data], len(data)
            all_headers["Content-Encoding"] = "gzip"
        all_headers.setdefault("Content-Length", None if fault.get("chunked") or fault.get("extra") else str(length))
        if fault.get("chunked"):
            all_headers["Transfer-Encoding"] = "chunked"
        if fault.get("extra"):
            pieces, self.close_connection = [*pieces, b"x" * fault["extra"]], True
        if "status" not in fault:
            all_headers.update(fault.get("headers") or {})
        fast = self.wfile
        if fault.get("drip"):
            self.wfile = Slow(fast, fault["drip"])
        if fault.get("torn"):
            self.wfile = Torn(fast, fault["torn"])
        try:
            self.send_all(status, all_headers, pieces, fault)
        finally:
            self.wfile = fast

    def send_all(self, status, all_headers, pieces, fault):
        self.send_response(status)
        for name, value in all_headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.record["status"], self.record["reply_headers"] = status, all_headers
        if self.command != "HEAD":
            self.send_pieces(pieces, fault)

    def send_pieces(self, pieces, fault):
        left, first = fault.get("cut"), True
        for piece in pieces:
            if first and fault.get("corrupt") and piece:
                piece = bytes([piece[0] ^ 0xFF]) + bytes(piece[1:])
            first = False
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if fault.get("chunked") and piece else piece)
            if left == 0:
                self.wfile.flush()
                self.record["cut"] = True
                return self.hang_up(fault.get("reset", False))
        if fault.get("chunked"):
            self.wfile.write(b"0\r\n\r\n")
        return None

    def drain(self):
        """A request is read to its end before the reply, so that the connection stays usable."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self.read_body()
            return
        left = self.body_length()
        while left:
            piece = self.rfile.read(min(BLOCK, left))
            if not piece:
                break
            left -= len(piece)
        self.body_read = True

    def send_error_reply(self, e):
        headers = dict(e.headers)
        if e.code:
            headers["X-Error-Code"] = e.code
        if e.message:
            headers["X-Error-Message"] = e.message
        self.send(e.status, e.body if e.body is not None else {"error": e.message}, headers)

    # ---- who asks ----

    def user(self):
        """(name, role) of the token, None without one."""
        value = self.headers.get("Authorization")
        if not value:
            return None
        token = value[7:] if value.startswith("Bearer ") else None
        if token not in self.state.tokens:
            raise HubError(401, None, "Invalid credentials in Authorization header")
        return self.state.tokens[token]

    def repository(self, kind, name, write=False):
        """The repository, when this user may see (write) it. Anonymous users get 401 for a missing one."""
        user, anonymous = self.user(), HubError(401, None, "Invalid username or password.")
        repository = self.state.repositories.get((kind, name))
        if repository is None:
            if (kind, name) in self.state.renames:
                new = self.state.renames[kind, name]
                raise HubError(307, None, None, {"Location": self.path.replace(name, new, 1)})
            raise anonymous if user is None else HubError(404, "RepoNotFound", "Repository not found")
        if repository.disabled:
            raise HubError(403, None, "Access to this resource is disabled.")
        if user is None and (repository.private or write):
            raise anonymous
        if write and user[1] != "write":
            raise HubError(403, None, "Forbidden: you must use a write token")
        return repository

    def commit_of(self, repository, revision):
        commit = repository.find(revision)
        if commit is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit
