from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager

import pytest
import requests

from layers.web import WebSession, explain


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A function that makes a certificate for a name, signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(name):
        path = folder / f"{name}.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", path, "-out", f"{path}.crt", "-subj", f"/CN={name}",
             "-addext", f"subjectAltName={name}"],
            check=True, capture_output=True,
        )  # fmt: skip
        path.write_bytes(path.read_bytes() + folder.joinpath(f"{name}.pem.crt").read_bytes())
        return path

    return make


@contextmanager
def listening(certificate=None):
    """A port of loopback where one connection is taken, with or without TLS, and answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer, args=(server, certificate))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


def _answer(server, certificate):
    connection, _ = server.accept()
    with connection:
        try:
            if certificate:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(certificate)
                connection = context.wrap_socket(connection, server_side=True)
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        finally:
            connection.close()


def trouble(url, verify=True):
    session = WebSession(5, 5)
    session.trust_env = False
    with session, pytest.raises(requests.RequestException) as raised:
        session.get(url, verify=verify)
    return explain(raised.value)


@pytest.mark.parametrize(
    ("code", "text", "may_pass"),
    [
        (socket.EAI_NONAME, "Name or service not known", False),
        (socket.EAI_AGAIN, "Temporary failure in name resolution", True),
        (socket.EAI_NODATA, "No address associated with hostname", False),
    ],
)
def test_a_name_that_does_not_resolve(monkeypatch, code, text, may_pass):
    def refuse(*_arguments, **_options):
        raise socket.gaierror(code, text)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = trouble("https://registry.test/v2/")
    assert found.problem == "its name cannot be resolved"
    assert found.advice == "check the name, and whether there is a network"
    assert found.may_pass == may_pass


def test_a_port_where_nobody_listens():
    found = trouble("https://127.0.0.1:1/")
    assert (found.problem, found.may_pass) == ("connection refused", True)


def test_a_certificate_that_nobody_vouches_for(certificate):
    with listening(certificate("IP:127.0.0.1")) as port:
        found = trouble(f"https://127.0.0.1:{port}/")
    assert found.problem == "its certificate is not trusted"
    assert "REQUESTS_CA_BUNDLE" in found.advice
    assert not found.may_pass


def test_a_certificate_of_another_name(certificate):
    path = certificate("DNS:other.test")
    with listening(path) as port:
        found = trouble(f"https://127.0.0.1:{port}/", f"{path}.crt")
    assert (found.problem, found.may_pass) == ("its certificate is for another name", False)


def test_a_certificate_that_has_expired():
    problem = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired"
    found = explain(requests.exceptions.SSLError(problem))
    assert (found.problem, found.may_pass) == ("its certificate has expired", False)


def test_a_server_that_does_not_speak_tls():
    with listening() as port:
        found = trouble(f"https://127.0.0.1:{port}/")
    assert (found.problem, found.may_pass) == ("it does not speak https", False)


def test_a_proxy_that_is_down(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with WebSession(5, 5) as session, pytest.raises(requests.RequestException) as raised:
        session.get("http://registry.test/")
    assert explain(raised.value).problem == "the proxy cannot be used"
