"""Starts the listeners: python3 -m hub.server [--folder DIR] [--tls DIR]

Prints one line of JSON, {"hub": address, "storage": ..., "control": ...}, then serves until its standard input
closes, so that it never outlives the test that started it.
"""
import argparse
import json
import sys
import threading
from http.server import ThreadingHTTPServer

from . import tls
from .api import HubHandler
from .control import ControlHandler
from .lfs import StorageHandler
from .state import State


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host, handler, context=None):
        super().__init__((host, 0), handler)
        self.context = context

    def finish_request(self, request, client_address):
        """In the connection's own thread, so that a slow handshake holds nobody up."""
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        self.RequestHandlerClass(request, client_address, self)

    def handle_error(self, request, client_address):
        """A client that went away, or refused a certificate, is what tests are about."""


def start(state, handler, host="127.0.0.1", scheme="http", context=None):
    bound = type(handler.__name__, (handler,), {"state": state, "scheme": scheme})
    server = Server(host, bound, context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"{scheme}://{'localhost' if context else host}:{server.server_port}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--folder", help="keep large files here instead of in memory")
    arguments.add_argument("--tls", help="make certificates in this empty folder and listen with them too")
    options = arguments.parse_args()
    state = State(options.folder)
    state.storage = start(state, StorageHandler, "127.0.0.2")   # another host, not only another port
    addresses = {"hub": start(state, HubHandler), "storage": state.storage, "control": start(state, ControlHandler)}
    if options.tls:
        tls.make(options.tls)
        for key, name in (("tls", "good"), ("tls_wrong_host", "wrong_host"), ("tls_expired", "expired")):
            addresses[key] = start(state, HubHandler, scheme="https", context=tls.context(options.tls, name))
    print(json.dumps(addresses), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
