"""Everything that a running fixture holds. One lock; settings are plain attributes that tests may change."""
import threading
import uuid

from .repository import Repository
from .store import FolderStore, MemoryStore

NEVER = 1 << 62


class Settings:
    def __init__(self):
        self.page = 1000                        # items of one page of a tree
        self.lfs_threshold = 10 * 1024 * 1024   # larger files are LFS
        self.lfs_extensions = (".parquet", ".safetensors", ".bin", ".arrow", ".npy", ".gz", ".zip", ".png")
        self.multipart_threshold = NEVER        # larger LFS objects are uploaded in parts
        self.chunk = 5 * 1024 * 1024            # of this size
        self.verify = True                      # uploads have a verify action
        self.xet = False                        # advertise xet as the Hub does
        self.preupload_oid = True               # preupload tells the oid that is there
        self.empty_main = False                 # new repositories have no .gitattributes
        self.direct = False                     # resolve answers 200 itself, never redirects
        self.commit_limit = NEVER               # operations of one commit; more: 413
        self.commit_bytes = NEVER               # bytes of one commit request; more: 413
        self.who = {}                           # members of whoami-v2 that are other ones
        self.delay = 0                          # seconds before every reply of the hub origin


class State:
    def __init__(self, folder=None):
        self.lock = threading.RLock()
        self.store = FolderStore(folder) if folder else MemoryStore()
        self.settings = Settings()
        self.repositories = {}   # (kind, name) -> Repository
        self.renames = {}        # (kind, old name) -> new name
        self.uploads = {}        # upload id -> {"oid", "size", "parts": {number: (md5, bytes)}}
        self.signatures = set()  # of the storage URLs that are valid now
        self.faults = []
        self.gate = threading.Event()   # what a fault holds waits for it
        self.log = []
        self.leaks = []          # requests that carried Authorization to the storage origin
        self.storage = ""        # its address
        self.tokens = {"hf_testtoken_write": ("tester", "write"), "hf_testtoken_read": ("reader", "read")}

    def release(self):
        gate, self.gate = self.gate, threading.Event()
        gate.set()

    def sign(self):
        signature = uuid.uuid4().hex
        with self.lock:
            self.signatures.add(signature)
        return signature

    def create(self, kind, name, private=False):
        self.repositories[kind, name] = Repository(kind, name, private, self.settings.empty_main)
        return self.repositories[kind, name]

    def rename(self, kind, old, new):
        repository = self.repositories.pop((kind, old))
        repository.name = new
        self.repositories[kind, new] = repository
        self.renames[kind, old] = new
