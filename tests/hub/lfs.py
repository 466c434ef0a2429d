"""Large files: the batch call, multipart completion, verify; and the storage origin that takes and gives the bytes.

URLs of the storage are signed: only a signature that was issued and has not expired opens them. The storage
refuses a request with Authorization, as a real one does, and records it as a leak.
"""
import hashlib
import re
import uuid

from . import resolve
from .handler import Handler, HubError
from .store import copy_body

MAX_OBJECTS = 256
GIT_LFS = "application/vnd.git-lfs+json; charset=utf-8"


def batch(handler, kind, name):
    handler.repository(kind, name, write=True)
    body, settings = handler.json_body(), handler.state.settings
    if body.get("operation") != "upload" or len(body["objects"]) > MAX_OBJECTS:
        raise HubError(400, None, "bad batch")
    objects, multipart = [], False
    for asked in body["objects"]:
        reply = {"oid": asked["oid"], "size": asked["size"]}
        if not re.fullmatch(r"[0-9a-f]{64}", asked["oid"]):
            reply["error"] = {"code": 422, "message": "Invalid oid"}
        elif not handler.state.store.has(asked["oid"]):
            parts = asked["size"] > settings.multipart_threshold and "multipart" in body.get("transfers", [])
            multipart |= parts
            reply["authenticated"] = True
            reply["actions"] = {"upload": multipart_action(handler, asked) if parts else single_action(handler, asked)}
            if settings.verify:
                reply["actions"]["verify"] = {"href": f"{handler.base()}/_lfs/verify/{kind}/{name}"}
        objects.append(reply)
    handler.send(200, {"transfer": "multipart" if multipart else "basic", "objects": objects}, kind=GIT_LFS)


def single_action(handler, asked):
    signature = handler.state.sign()
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=900&X-Amz-Signature={signature}"
    return {"href": f"{handler.state.storage}/put/{asked['oid']}?{query}", "header": {}}


def multipart_action(handler, asked):
    upload, chunk = uuid.uuid4().hex, handler.state.settings.chunk
    with handler.state.lock:
        handler.state.uploads[upload] = {"oid": asked["oid"], "size": asked["size"], "parts": {}}
    header = {"chunk_size": str(chunk)}
    for i in range(1, -(-asked["size"] // chunk) + 1):
        url = f"{handler.state.storage}/part/{upload}/{i}?X-Amz-Signature={handler.state.sign()}"
        header[f"{i:05d}"] = url
    return {"href": f"{handler.base()}/_lfs/complete/{upload}?uploadId={upload}", "header": header}


def finish(handler, what, argument):
    body = handler.json_body()
    if what == "complete":
        return complete(handler, argument, body)
    handler.user()
    store = handler.state.store
    if not store.has(body["oid"]) or store.size(body["oid"]) != body["size"]:
        raise HubError(404, None, "object not uploaded")
    return handler.send(200, b"")


def complete(handler, number, body):
    if handler.headers.get("Authorization"):
        with handler.state.lock:
            handler.state.leaks.append(handler.record)
    with handler.state.lock:
        upload = handler.state.uploads.get(number)
    if not upload:
        raise HubError(404, None, "No such upload")
    out, sha = handler.state.store.temporary(), hashlib.sha256()
    for i, part in enumerate(body["parts"], 1):
        md5, data = upload["parts"].get(i, (None, b""))
        if part["partNumber"] != i or part["etag"] != f'"{md5}"':
            raise HubError(400, None, "InvalidPart")
        sha.update(data)
        out.write(data)
    if sha.hexdigest() != upload["oid"] or body["oid"] != upload["oid"]:
        raise HubError(400, None, "sha256 mismatch")
    with handler.state.lock:
        handler.state.store.keep(upload["oid"], out)
        handler.state.uploads.pop(number, None)
    return handler.send(200, {"ok": True})


class StorageHandler(Handler):
    origin = "storage"

    def dispatch(self):
        if self.headers.get("Authorization"):
            with self.state.lock:
                self.state.leaks.append(self.record)
            raise HubError(400, None, "Only one auth mechanism allowed")
        self.check_signature()
        m = re.fullmatch(r"/(put|repos)/([0-9a-f]{64})|/part/([0-9a-f]+)/(\d+)", self.route)
        if m and m[1] == "put" and self.command == "PUT":
            return self.take_object(m[2])
        if m and m[3] and self.command == "PUT":
            return self.take_part(m[3], int(m[4]))
        if m and m[1] == "repos" and self.command in ("GET", "HEAD") and self.state.store.has(m[2]):
            size = self.state.store.size(m[2])   # the storage's own kind of ETag: no digest of the content
            return resolve.send_range(self, self.state.store.open(m[2]), size, {"ETag": f'"{m[2][:32]}"'})
        raise HubError(404, None, "NoSuchKey")

    def check_signature(self):
        given = (self.query.get("X-Amz-Signature") or self.query.get("Signature") or [""])[0]
        if given not in self.state.signatures:
            body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            raise HubError(403, None, None, {"Content-Type": "application/xml"}, body)

    def take_body(self):
        if "Content-Length" not in self.headers:
            raise HubError(411, None, "MissingContentLength")
        out = self.state.store.temporary()
        length, sha, md5 = copy_body(self.rfile.read, self.body_length(), out)
        self.body_read = True
        self.record["body_length"] = length
        if length < self.body_length():
            raise ConnectionResetError("the body ended early")
        return out, sha, md5

    def take_object(self, oid):
        out, sha, md5 = self.take_body()
        if sha != oid:
            raise HubError(400, None, None, {"Content-Type": "application/xml"}, b"<Error><Code>BadDigest</Code></Error>")
        with self.state.lock:
            self.state.store.keep(oid, out)
        self.send(200, b"", {"ETag": f'"{md5}"'})

    def take_part(self, number, i):
        out, _, md5 = self.take_body()
        out.seek(0)
        with self.state.lock:
            if number not in self.state.uploads:
                raise HubError(404, None, "NoSuchUpload")
            self.state.uploads[number]["parts"][i] = (md5, out.read())
        self.send(200, b"", {"ETag": f'"{md5}"'})
