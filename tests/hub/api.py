"""The hub origin: /api/..., and the routing of everything else that it serves.

Replies follow the official client's source and recorded traffic; what no client reads is left out.
"""
import base64
import hashlib
import json
import re
from urllib.parse import parse_qs, unquote, urlencode

from . import lfs, resolve
from .handler import Handler, HubError
from .repository import Entry, is_hostile, is_ignored

WEB = {"model": "", "dataset": "datasets/", "space": "spaces/"}
KINDS = {None: "model", "datasets/": "dataset", "spaces/": "space"}
BELOW = "revision|tree|preupload|commit|commits|branch|tag|refs|paths-info|xet-read-token|xet-write-token"
REPOSITORY = re.compile(rf"/api/(model|dataset|space)s/(.+?)(?:/({BELOW})(?:/([^/]+))?(?:/(.*))?)?")
MAX_FILES = 256   # of one preupload or LFS batch


def route(handler):
    path, method = handler.route, handler.command
    fixed = {("POST", "/api/repos/create"): create_repository, ("DELETE", "/api/repos/delete"): delete_repository,
             ("GET", "/api/whoami-v2"): who_am_i, ("POST", "/api/validate-yaml"): validate_yaml}
    if (method, path) in fixed:
        return fixed[method, path](handler)
    m = re.fullmatch(r"/(datasets/|spaces/)?([^/]+(?:/[^/]+)?)\.git/info/lfs/objects/batch", path)
    if m:
        return lfs.batch(handler, KINDS[m[1]], m[2])
    m = re.fullmatch(r"/_lfs/(complete|verify)/(.+)", path)
    if m:
        return lfs.finish(handler, m[1], m[2])
    m = re.fullmatch(r"/api/resolve-cache/(model|dataset|space)s/(.+?)/([0-9a-f]{40})/(.+)", path)
    if m:
        return resolve.small_file(handler, m[1], m[2], m[3], unquote(m[4]))
    m = REPOSITORY.fullmatch(path)
    if m:
        return route_repository(handler, m[1], m[2], m[3], m[4] and unquote(m[4]), unquote(m[5] or ""))
    m = re.fullmatch(r"/(datasets/|spaces/)?([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)", path)
    if m:
        return resolve.file(handler, m[3], KINDS[m[1]], m[2], unquote(m[4]), unquote(m[5]))
    raise HubError(404, None, "Sorry, we can't find the page you are looking for.")


def route_repository(handler, kind, name, below, revision, path):
    reading = {None: lambda r: information(handler, r, "main"), "revision": lambda r: information(handler, r, revision),
               "tree": lambda r: tree(handler, r, revision, path), "refs": lambda r: refs(handler, r),
               "commits": lambda r: commits(handler, r, revision),
               "xet-read-token": lambda r: handler.send(200, {"accessToken": "xet", "exp": 0, "casUrl": "http://cas.invalid"})}
    writing = {("POST", "preupload"): preupload, ("POST", "commit"): commit, ("POST", "branch"): create_branch,
               ("DELETE", "branch"): delete_branch, ("POST", "tag"): create_tag}
    if handler.command == "GET" and below in reading:
        return reading[below](handler.repository(kind, name))
    if (handler.command, below) == ("POST", "paths-info"):
        return paths_info(handler, handler.repository(kind, name), revision)
    if (handler.command, below) in writing:
        handler.read_body()
        repository = handler.repository(kind, name, write=True)
        return handler.send_after(writing[handler.command, below], handler, repository, revision)
    raise HubError(404, None, "not found")


# ---- accounts and repositories ----

def who_am_i(handler):
    user = handler.user()
    if not user:
        raise HubError(401, None, "Invalid username or password.")
    handler.send(200, {"type": "user", "id": "1", "name": user[0], "fullname": user[0], "orgs": [],
                       "auth": {"type": "access_token", "accessToken": {"displayName": "t", "role": user[1]}}, **handler.state.settings.who})


def wanted(handler):
    user = handler.user()
    if not user:
        raise HubError(401, None, "Invalid username or password.")
    if user[1] != "write":
        raise HubError(403, None, "You don't have the rights to create a repo under the namespace")
    body = handler.json_body()
    return body.get("type") or "model", f"{body.get('organization') or user[0]}/{body['name']}", body


def create_repository(handler):
    kind, name, body = wanted(handler)
    url = f"{handler.base()}/{WEB[kind]}{name}"
    with handler.state.lock:
        known = (kind, name) in handler.state.repositories
        if not known:
            handler.state.create(kind, name, body.get("visibility") == "private" or bool(body.get("private")))
    if known:
        message = f"You already created this {kind} repo"
        return handler.send(409, {"error": message, "url": url}, {"X-Error-Message": message})
    return handler.send(200, {"url": url, "name": name, "id": repository_id(name)})


def delete_repository(handler):
    kind, name, _ = wanted(handler)
    with handler.state.lock:
        if handler.state.repositories.pop((kind, name), None) is None:
            raise HubError(404, "RepoNotFound", "Repository not found")
    handler.send(200, b"OK", kind="text/plain")


def repository_id(name):
    return "65f" + hashlib.sha1(name.encode()).hexdigest()[:21]


def validate_yaml(handler):
    """The Hub parses the front matter; here only its frame is checked."""
    content = handler.json_body()["content"]
    front = re.match(r"^---\r?\n(.*?)\r?\n---(\r?\n|$)", content, re.S)
    warnings = [] if front else [{"message": "empty or missing yaml metadata in repo card"}]
    bad = bool(front) and "\t" in front[1]
    errors = [{"message": "YAML error: a tab where a space belongs"}] if bad else []
    handler.send(400 if bad else 200, {"errors": errors, "warnings": warnings})


# ---- reading ----

def flag(handler, name):
    return handler.query.get(name, ["false"])[0].lower() in ("true", "1")


def information(handler, repository, revision):
    at = handler.commit_of(repository, revision)
    siblings = []
    for path, entry in sorted(at["tree"].items()):
        item = {"rfilename": path}
        if flag(handler, "blobs"):
            item.update(size=entry.size, blobId=entry.oid)
            if entry.lfs:
                item["lfs"] = {"sha256": entry.lfs["oid"], "size": entry.size, "pointerSize": entry.lfs["pointerSize"]}
        siblings.append(item)
    handler.send(200, {"_id": repository_id(repository.name), "id": repository.name,
                       "author": repository.name.split("/")[0], "sha": at["id"], "lastModified": at["date"],
                       "private": repository.private, "gated": "auto" if repository.gated else False,
                       "disabled": False, "tags": [], "downloads": 0, "likes": 0, "createdAt": at["date"],
                       "siblings": siblings, "usedStorage": 0,
                       **({"modelId": repository.name} if repository.kind == "model" else {})})


def item(handler, path, entry, at=None):
    out = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
    if entry.lfs:
        out["lfs"] = dict(entry.lfs)
        if handler.state.settings.xet:
            out["xetHash"] = hashlib.sha256(b"xet" + entry.lfs["oid"].encode()).hexdigest()
    if at:
        out["lastCommit"] = {"id": at["id"], "title": at["title"], "date": at["date"]}
    return out


def folder(path):
    return {"type": "directory", "oid": hashlib.sha1(path.encode("utf-8", "replace")).hexdigest(), "size": 0, "path": path}


def tree_items(handler, at, path, recursive):
    below, out, seen, found = (path.rstrip("/") + "/") if path else "", [], set(), not path
    for name, entry in sorted(at["tree"].items()):
        if not name.startswith(below):
            continue
        found = True
        parts = name[len(below):].split("/")
        for i in range(1, len(parts) if recursive else min(2, len(parts))):
            parent = below + "/".join(parts[:i])
            if parent not in seen:
                seen.add(parent)
                out.append(folder(parent))
        if recursive or len(parts) == 1:
            out.append(item(handler, name, entry, at if flag(handler, "expand") else None))
    return out if found else None


def tree(handler, repository, revision, path):
    items = tree_items(handler, handler.commit_of(repository, revision), path, flag(handler, "recursive"))
    if items is None:
        raise HubError(404, "EntryNotFound", f'{path} does not exist on "{revision}"')
    start = int(base64.urlsafe_b64decode(handler.query["cursor"][0]).decode()) if "cursor" in handler.query else 0
    page = handler.state.settings.page
    n = min(int(handler.query.get("limit", [page])[0]), page)
    headers = {}
    if start + n < len(items):
        query = {k: v[0] for k, v in handler.query.items() if k not in ("cursor", "limit")}
        query.update(limit=n, cursor=base64.urlsafe_b64encode(str(start + n).encode()).decode())
        headers["Link"] = f'<{handler.base()}{handler.route}?{urlencode(query)}>; rel="next"'
    handler.send(200, items[start:start + n], headers)


def paths_info(handler, repository, revision):
    at, body = handler.commit_of(repository, revision), handler.read_body().decode()
    if "json" in (handler.headers.get("Content-Type") or ""):
        asked = json.loads(body)
        paths, expand = asked["paths"], asked.get("expand")
    else:
        asked = parse_qs(body)
        paths, expand = asked.get("paths", []), (asked.get("expand") or ["false"])[0].lower() == "true"
    if len(paths) > 1000:
        raise HubError(413, None, "too many paths")
    out = []
    for path in (p.strip("/") for p in paths):
        if path in at["tree"]:
            out.append(item(handler, path, at["tree"][path], at if expand else None))
        elif any(name.startswith(path + "/") for name in at["tree"]):
            out.append(folder(path))
    handler.send(200, out)


def refs(handler, repository):
    branches = [{"name": k, "ref": "refs/heads/" + k, "targetCommit": v} for k, v in repository.refs.items()
                if not k.startswith("refs/")]
    tags = [{"name": k, "ref": "refs/tags/" + k, "targetCommit": v} for k, v in repository.tags.items()]
    converts = [{"name": k[13:], "ref": k, "targetCommit": v} for k, v in repository.refs.items()
                if k.startswith("refs/convert/")]
    more = {"pullRequests": []} if "include_prs" in handler.query else {}
    handler.send(200, {"branches": branches, "tags": tags, "converts": converts, **more})


def commits(handler, repository, revision):
    at, out = handler.commit_of(repository, revision), []
    while at:
        out.append({"id": at["id"], "title": at["title"], "message": at["message"], "authors": [{"user": "tester"}],
                    "date": at["date"]})
        at = repository.commits.get(at["parent"])
    handler.send(200, out, {"X-Total-Count": str(len(out))})


# ---- writing ----

def create_branch(handler, repository, name):
    body = handler.json_body()
    if name.startswith("refs/"):
        raise HubError(400, None, f"Invalid reference for a branch: {name}")
    if name in repository.refs and not body.get("overwrite"):
        raise HubError(409, None, "Reference already exists")
    if body.get("emptyBranch"):
        repository.refs[name] = repository.add_commit(None, {}, "initial commit", "")
    else:
        repository.refs[name] = handler.commit_of(repository, body.get("startingPoint") or "main")["id"]
    handler.send(200, b"OK", kind="text/plain; charset=utf-8")


def delete_branch(handler, repository, name):
    if name == "main":
        raise HubError(403, None, "Cannot delete main")
    if repository.refs.pop(name, None) is None:
        raise HubError(404, "RevisionNotFound", "Invalid rev id")
    handler.send(200, b"OK", kind="text/plain")


def create_tag(handler, repository, revision):
    tag = handler.json_body()["tag"]
    if tag in repository.tags:
        raise HubError(409, None, "Reference already exists")
    repository.tags[tag] = handler.commit_of(repository, revision)["id"]
    handler.send(200, b"OK", kind="text/plain")


def preupload(handler, repository, revision):
    body, settings = handler.json_body(), handler.state.settings
    if len(body["files"]) > MAX_FILES:
        raise HubError(413, None, "too many files")
    at, gitignore, out = handler.commit_of(repository, revision), body.get("gitIgnore"), []
    if gitignore is None:
        there = at["tree"].get(".gitignore")
        gitignore = (there.data or b"").decode() if there else ""
    for file in body["files"]:
        sample = base64.b64decode(file["sample"], validate=True)
        if len(sample) != min(512, file["size"]):
            raise HubError(400, None, f"{file['path']}: the sample has {len(sample)} bytes")
        large = file["size"] > settings.lfs_threshold or b"\0" in sample
        mode = "lfs" if large or file["path"].endswith(tuple(settings.lfs_extensions)) else "regular"
        reply = {"path": file["path"], "uploadMode": mode, "shouldIgnore": is_ignored(file["path"], gitignore)}
        if file["path"] in at["tree"] and settings.preupload_oid:
            reply["oid"] = at["tree"][file["path"]].content_oid()
        out.append(reply)
    handler.send(200, {"files": out, "commitOid": at["id"]})


def commit_lines(handler):
    settings, body = handler.state.settings, handler.read_body()
    if handler.headers.get("Content-Type") != "application/x-ndjson":
        raise HubError(400, None, "the content type must be application/x-ndjson")
    if len(body) > settings.commit_bytes:
        raise HubError(413, None, "the request is too large")
    try:
        lines = [json.loads(line) for line in body.decode().split("\n") if line.strip()]
    except ValueError:
        raise HubError(400, None, "a line is not JSON") from None
    if not lines or lines[0]["key"] != "header" or not lines[0]["value"].get("summary"):
        raise HubError(400, None, "the first line must be a header with a summary")
    if len(lines) - 1 > settings.commit_limit:
        raise HubError(413, None, "too many operations")
    return lines


def apply(handler, tree_now, key, value):
    """One line of a commit."""
    path, store = value.get("path", ""), handler.state.store
    if is_hostile(path.rstrip("/") if key == "deletedFolder" else path):
        raise HubError(400, None, f"Invalid path: {path}")
    if key == "file":
        raw = value.get("encoding") == "base64"
        tree_now[path] = Entry(base64.b64decode(value["content"], validate=True) if raw else value["content"].encode())
    elif key == "lfsFile":
        if value.get("algo") != "sha256" or not store.has(value["oid"]):
            raise HubError(400, None, f"LFS pointer pointed to a file that does not exist. oid: {value['oid']}")
        if value.get("size") is not None and store.size(value["oid"]) != value["size"]:
            raise HubError(400, None, "size mismatch")
        tree_now[path] = Entry(lfs=(value["oid"], store.size(value["oid"])))
    elif key == "deletedFile":
        if path not in tree_now:
            raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
        del tree_now[path]
    elif key == "deletedFolder":
        for name in [n for n in tree_now if n.startswith(path.rstrip("/") + "/")]:
            del tree_now[name]
    else:
        raise HubError(400, None, f"Unknown operation {key}")


def commit(handler, repository, branch):
    lines = commit_lines(handler)
    if branch not in repository.refs:
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {branch}")
    header, head = lines[0]["value"], repository.refs[branch]
    parent = header.get("parentCommit")
    if parent and not head.startswith(parent):
        raise HubError(412, None, "A commit has happened since. Please refresh and try again.")
    tree_now = dict(repository.commits[head]["tree"])
    for line in lines[1:]:
        apply(handler, tree_now, line["key"], line["value"])
    sha = repository.add_commit(head, tree_now, header["summary"], header.get("description") or "")
    repository.refs[branch] = sha
    url = f"{handler.base()}/{WEB[repository.kind]}{repository.name}/commit/{sha}"
    handler.send(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


class HubHandler(Handler):
    origin = "hub"

    def dispatch(self):
        route(self)
