"""What may go wrong. A fault is a dictionary that a test posts to the control port:

    origin, method, match   which requests: origin ("hub", "storage"), method, regular expression on the path
    times                   how many of them, 1 unless said; -1: all
    skip                    let so many of them pass first

and what happens to them, any of:

    delay          seconds before anything else
    hold           nothing happens before the test calls release(), clear() or reset(): what ends first did not wait for it
    status         this reply instead of the real one, with headers and body
    drop           the connection closes before a reply ("reset": with a TCP reset); read: so many bytes of the
                   request's body are read first
    after          "drop": the request is carried out, then the connection closes without a reply
    cut            the reply's body ends after so many bytes (the connection closes; with reset: a TCP reset)
    torn           the reply ends after so many bytes, headers included
    corrupt        one byte of the reply's body is another one
    ignore_range   Range is ignored
    headers        these headers in the reply (without status: in the real one)
    gzip           the reply is compressed though nobody asked
    html           status 200 and a page of HTML, as a captive portal sends
    redirect       "loop": 307 to itself; otherwise 307 to this address
    drip           seconds between single bytes of the reply, headers included
    chunked        the body comes in chunks, without a length
    extra          so many bytes more than belong to it, without a length; the connection closes behind them
    json           keys that replace those of the JSON reply
"""
import re
import time


def find(state, origin, method, path):
    """The first fault that fits, counted down."""
    with state.lock:
        for fault in state.faults:
            if fault.get("origin", origin) != origin or fault.get("method", method) != method:
                continue
            if not fault.get("times", 1) or not re.search(fault.get("match", ""), path):
                continue
            if fault.get("skip", 0) > 0:
                fault["skip"] -= 1
                continue
            fault["times"] = fault.get("times", 1) - 1 if fault.get("times", 1) > 0 else -1
            return dict(fault)
    return None


def replace_reply(handler, fault):
    """Carries out the faults that come instead of the real reply; false when there are none."""
    if fault.get("hold"):
        handler.state.gate.wait()
    if fault.get("delay"):
        time.sleep(fault["delay"])
    if "status" in fault:
        handler.send(fault["status"], fault.get("body", "").encode(), fault.get("headers"), fault.get("type"))
    elif fault.get("drop"):
        # Never more than there is: it would wait until the client gives the connection up.
        handler.rfile.read(min(fault.get("read", 0), int(handler.headers.get("Content-Length") or 0)))
        handler.hang_up(reset=fault["drop"] == "reset")
    elif fault.get("html"):
        handler.send(200, b"<!DOCTYPE html><html><body>Please log in to the network</body></html>", {}, "text/html")
    elif fault.get("redirect"):
        target = handler.path if fault["redirect"] == "loop" else fault["redirect"]
        handler.send(307, b"", {"Location": target})
    else:
        return False
    return True
