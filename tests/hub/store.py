"""The bytes of large files, by SHA-256: in memory, or in a folder when they are too large for it."""
import hashlib
import io
import os
import tempfile

BLOCK = 1 << 20


class View:
    """An open object of the memory store: what is read of it is not copied."""

    def __init__(self, data):
        self.data, self.at = memoryview(data), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Its pieces may still be on their way: nothing to release."""

    def seek(self, at):
        self.at = at

    def read(self, n):
        self.at += n
        return self.data[self.at - n:self.at]


class MemoryStore:
    def __init__(self):
        self.objects = {}

    def has(self, oid):
        return oid in self.objects

    def size(self, oid):
        return len(self.objects[oid])

    def open(self, oid):
        return View(self.objects[oid])

    def delete(self, oid):
        self.objects.pop(oid, None)

    def clear(self):
        self.objects.clear()

    def temporary(self):
        return io.BytesIO()

    def keep(self, oid, body):
        body.seek(0)
        self.objects[oid] = body.read()


class FolderStore:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)

    def path(self, oid):
        return os.path.join(self.folder, oid)

    def has(self, oid):
        return os.path.exists(self.path(oid))

    def size(self, oid):
        return os.path.getsize(self.path(oid))

    def open(self, oid):
        return open(self.path(oid), "rb")

    def delete(self, oid):
        if self.has(oid):
            os.remove(self.path(oid))

    def clear(self):
        for name in os.listdir(self.folder):
            self.delete(name)

    def temporary(self):
        return tempfile.NamedTemporaryFile(dir=self.folder, prefix="incoming-", delete=False)

    def keep(self, oid, body):
        body.flush()
        os.replace(body.name, self.path(oid))
        body.close()


def copy_body(read, length, out):
    """Copies a request body of known length; returns (bytes copied, SHA-256, MD5)."""
    sha, md5, left = hashlib.sha256(), hashlib.md5(), length
    while left:
        piece = read(min(BLOCK, left))
        if not piece:
            break
        sha.update(piece)
        md5.update(piece)
        out.write(piece)
        left -= len(piece)
    return length - left, sha.hexdigest(), md5.hexdigest()
