"""Downloads. A large file: 302 to the storage. A small one: 307 to /api/resolve-cache. Ranges as RFC 9110."""
import io
import re
import time
from urllib.parse import quote

from .handler import HubError
from .repository import lfs_pointer
from .store import BLOCK


def check_gate(handler, repository):
    if not repository.gated:
        return
    user, name = handler.user(), f"{repository.kind} {repository.name}"
    if user is None:
        raise HubError(401, "GatedRepo", f"Access to {name} is restricted. You must have access to it and be "
                       "authenticated to access it. Please log in.")
    if user[1] != "write":
        raise HubError(403, "GatedRepo", f"Access to {name} is restricted and you are not in the authorized list.")


def file(handler, how, kind, name, revision, path):
    repository = handler.repository(kind, name)
    check_gate(handler, repository)
    at = handler.commit_of(repository, revision)
    entry = at["tree"].get(path)
    if entry is None:
        raise HubError(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": at["id"]}, b"Entry not found")
    if how == "raw":
        data = lfs_pointer(entry.lfs["oid"], entry.size) if entry.lfs else entry.data
        return send_range(handler, io.BytesIO(data), len(data), {"ETag": f'"{entry.oid}"', "X-Repo-Commit": at["id"]})
    headers = {"X-Repo-Commit": at["id"], "Accept-Ranges": "bytes", "X-Linked-Size": str(entry.size),
               "X-Linked-ETag": f'"{entry.content_oid()}"'}
    if handler.state.settings.direct:
        return send_direct(handler, entry, headers)
    if entry.lfs:
        return redirect_to_storage(handler, entry, at, path, headers)
    where = f"/api/resolve-cache/{kind}s/{name}/{at['id']}/{quote(path)}"
    query = f"{quote(handler.route, safe='')}=&etag={quote(chr(34) + entry.oid + chr(34), safe='')}"
    headers["Location"] = f"{where}?{query}"
    return handler.send(307, b"Temporary Redirect. Redirecting to " + headers["Location"].encode(), headers, "text/plain")


def send_direct(handler, entry, headers):
    headers["ETag"] = headers["X-Linked-ETag"]
    if entry.lfs:
        return send_range(handler, handler.state.store.open(entry.lfs["oid"]), entry.size, headers)
    return send_range(handler, io.BytesIO(entry.data), entry.size, headers)


def redirect_to_storage(handler, entry, at, path, headers):
    if handler.state.settings.xet:
        xet = entry.lfs["oid"][::-1]
        headers["X-Xet-Hash"] = xet
        headers["Link"] = (f'<{handler.base()}/xet-read-token/{at["id"]}>; rel="xet-auth", '
                           f'<http://cas.invalid/v1/reconstructions/{xet}>; rel="xet-reconstruction-info"')
    name = quote(path.split("/")[-1], safe="")
    query = f"response-content-disposition=inline%3B+filename*%3DUTF-8%27%27{name}&Expires={int(time.time()) + 3600}"
    signature = f"&Policy=x&Signature={handler.state.sign()}&Key-Pair-Id=K"
    headers["Location"] = f"{handler.state.storage}/repos/{entry.lfs['oid']}?{query}{signature}"
    handler.send(302, b"Found. Redirecting to " + headers["Location"].encode(), headers, "text/plain; charset=utf-8")


def small_file(handler, kind, name, sha, path):
    repository = handler.repository(kind, name)
    check_gate(handler, repository)
    entry = handler.commit_of(repository, sha)["tree"].get(path)
    if entry is None or entry.lfs:
        raise HubError(404, "EntryNotFound", "Entry not found")
    send_range(handler, io.BytesIO(entry.data), entry.size, {"ETag": f'"{entry.oid}"', "X-Repo-Commit": sha})


def pieces(stream, left):
    with stream:
        while left:
            piece = stream.read(min(BLOCK, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


def send_range(handler, stream, size, headers):
    asked, start, end, status = handler.headers.get("Range"), 0, size - 1, 200
    m = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if m and asked != "bytes=-" and not (handler.fault or {}).get("ignore_range"):
        if m[1] == "":
            start = max(0, size - int(m[2]))
        else:
            start, end = int(m[1]), min(int(m[2] or size - 1), size - 1)
        if start >= size:
            return handler.send(416, b"", {"Content-Range": f"bytes */{size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    headers["Accept-Ranges"] = "bytes"
    stream.seek(start)
    length = end - start + 1
    return handler.send_stream(status, pieces(stream, length), length, headers, "application/octet-stream")
