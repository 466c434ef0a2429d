"""A CA of our own and certificates of it: good (127.0.0.1, localhost, hub.test), for another host, expired, of the future."""
import pathlib
import ssl
import subprocess

CA_CONFIG = """
[ca]
default_ca = here
[here]
dir = {folder}
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
HERE = "DNS:localhost,IP:127.0.0.1,DNS:hub.test"
NAMES = {"good": HERE, "wrong_host": "DNS:elsewhere.invalid", "expired": HERE, "future": HERE}
DATES = {"expired": ("20200101000000Z", "20200201000000Z"), "future": ("20480101000000Z", "20490101000000Z")}
ALWAYS = ("20200101000000Z", "20491231000000Z")


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make(folder):
    """Writes ca.pem, and <name>.pem and <name>.key for every name."""
    folder = pathlib.Path(folder)
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("1000\n")
    (folder / "ca.cnf").write_text(CA_CONFIG.format(folder=folder))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 3650, "-subj", "/CN=test CA",
            "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name, alternatives in NAMES.items():
        start, end = DATES.get(name, ALWAYS)
        (folder / "extensions").write_text(f"subjectAltName={alternatives}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key",
                "-out", folder / f"{name}.csr")
        openssl("ca", "-batch", "-notext", "-config", folder / "ca.cnf", "-cert", folder / "ca.pem",
                "-keyfile", folder / "ca.key", "-startdate", start, "-enddate", end,
                "-extfile", folder / "extensions", "-in", folder / f"{name}.csr", "-out", folder / f"{name}.pem")


def context(folder, name):
    out = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    out.load_cert_chain(pathlib.Path(folder) / f"{name}.pem", pathlib.Path(folder) / f"{name}.key")
    return out
