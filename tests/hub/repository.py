"""What a repository is: immutable commits (id, parent, tree) and refs that point at them.

A tree maps a path to an Entry. Hashes are the real ones: git blob SHA-1 for small files; for large
files the SHA-256 of the content, and the git SHA-1 of the LFS pointer.
"""
import fnmatch
import hashlib
import re
import time
import uuid

GITATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(oid, size):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


class Entry:
    """One file of a tree: its bytes (regular) or the LFS object that holds them."""

    def __init__(self, data=None, lfs=None):
        self.data, self.lfs = data, None
        if lfs is None:
            self.oid, self.size = git_sha1(data), len(data)
        else:
            oid, size = lfs
            pointer = lfs_pointer(oid, size)
            self.oid, self.size = git_sha1(pointer), size
            self.lfs = {"oid": oid, "size": size, "pointerSize": len(pointer)}

    def content_oid(self):
        return self.lfs["oid"] if self.lfs else self.oid


class Repository:
    def __init__(self, kind, name, private, empty=False):
        self.kind, self.name = kind, name
        self.private, self.gated, self.disabled = private, False, False
        self.commits, self.refs, self.tags = {}, {}, {}
        tree = {} if empty else {".gitattributes": Entry(GITATTRIBUTES)}
        self.refs["main"] = self.add_commit(None, tree, "initial commit", "")

    def add_commit(self, parent, tree, title, message):
        listing = sorted((path, entry.oid) for path, entry in tree.items())
        text = f"{parent}|{title}|{message}|{listing}|{uuid.uuid4()}"
        sha = hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.commits[sha] = {"id": sha, "parent": parent, "tree": tree, "title": title, "message": message, "date": date}
        return sha

    def find(self, revision):
        """The commit of a branch, tag, full ref name or (short) commit id; None when there is none."""
        if revision == "HEAD":
            revision = "main"
        for name in (revision, re.sub(r"^refs/heads/", "", revision)):
            if name in self.refs:
                return self.commits[self.refs[name]]
        tag = self.tags.get(re.sub(r"^refs/tags/", "", revision))
        if tag:
            return self.commits[tag]
        if revision in self.commits:
            return self.commits[revision]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            hits = [c for c in self.commits if c.startswith(revision)]
            if len(hits) == 1:
                return self.commits[hits[0]]
        return None


def is_hostile(path):
    """A path that the Hub refuses in a commit."""
    parts = path.split("/")
    return path.startswith("/") or any(p in ("", ".", "..", ".git") for p in parts)


def is_ignored(path, gitignore):
    """Enough of .gitignore for tests: one glob per line, on the path or the last name."""
    lines = [line.strip() for line in gitignore.splitlines()]
    globs = [line for line in lines if line and not line.startswith("#")]
    return any(fnmatch.fnmatchcase(path, g) or fnmatch.fnmatchcase(path.split("/")[-1], g) for g in globs)
