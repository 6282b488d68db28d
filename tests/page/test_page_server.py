"""The page's server: who is answered, and what comes of an order."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from commands import refused
from page_cases import HOSTILE, NAMES, beginning, running, served

from lensllm.page import serve as serving
from lensllm.search.journal import Journal
from lensllm.search.orders import FILE_NAME, asked

SECOND = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("running")
    with running(folder):
        yield folder


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as address:
        yield urlsplit(address)


def answer(address, path="", method="GET", body=None, token=None, **headers):
    """Status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=SECOND)
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{token or address.path.strip('/')}/{path}", body, shown)
    came = connection.getresponse()
    return came.status, dict(came.getheaders()), came.read().decode()


def ordered(address, told, **headers):
    body = told if isinstance(told, str) else json.dumps(told)
    origin = {"Origin": f"http://127.0.0.1:{address.port}"} | headers
    status, _, said = answer(address, "orders", "POST", body, **origin)
    return status, said


def test_it_answers_this_machine_with_the_token_alone(address):
    status, headers, text = answer(address)
    assert status == 200
    assert "Which is the best?" in text
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert answer(address, Host=f"localhost:{address.port}")[0] == 200
    assert answer(address, "plotly.min.js")[0] == 200
    assert answer(address, token="x" * 32)[0] == 403
    assert answer(address, Host=f"evil.example:{address.port}")[0] == 403
    assert answer(address, Host="")[0] == 403
    assert answer(address, Origin="http://evil.example")[0] == 403
    for path in ("server.py", "../server.py", "..%2fserver.py", "%2e%2e/server.py"):
        assert answer(address, path)[0] == 404


def test_orders_are_taken_from_the_page_alone(address, folder):
    assert ordered(address, {"kind": "stop"}, Origin="http://evil.example")[0] == 403
    assert answer(address, "orders", "POST", '{"kind": "stop"}')[0] == 403
    assert answer(address, "orders", "GET")[0] in (404, 405)
    for junk in ("", "[]", "{", "1" * 20_000):
        assert ordered(address, junk)[0] == 400
    assert not (folder / FILE_NAME).exists()


def test_an_order_that_cannot_be_is_refused_with_a_sentence(address, folder):
    assert ordered(address, {"kind": "drop", "candidate": "nobody"})[1].startswith("This cannot be asked")
    assert ordered(address, {"kind": "drop", "candidate": ["plain-1b"]})[0] == 409
    for budget in (0.1, 0.2, None, "1", -1):
        said = "The budget can only be raised: give more than 0.2."
        assert ordered(address, {"kind": "budget", "budget": budget}) == (409, said)
    for model in ("", " ", None, 3, ["gpt2"]):
        assert ordered(address, {"kind": "add", "model": model})[1].startswith("Give the model")
    for method in ("dora", None, ["full"]):
        assert ordered(address, {"kind": "add", "model": "gpt2", "method": method})[1].startswith(
            "The method is one of"
        )
    assert not (folder / FILE_NAME).exists()


def test_an_order_lies_in_the_folder_until_the_search_hears_it(tmp_path):
    with running(tmp_path), served(tmp_path) as url:
        address = urlsplit(url)
        assert ordered(address, {"kind": "budget", "budget": 0.3}) == (200, "")
        assert ordered(address, {"kind": "drop", "candidate": HOSTILE}) == (200, "")
        assert ordered(address, {"kind": "drop", "candidate": HOSTILE})[0] == 409
        assert ordered(address, {"kind": "add", "model": f" {HOSTILE} ", "method": "lora"}) == (200, "")
        assert ordered(address, {"kind": "stop"}) == (200, "")
        assert ordered(address, {"kind": "stop"})[0] == 409
        assert ordered(address, {"kind": "add", "model": "gpt2"})[0] == 409
    assert asked(tmp_path)[2].model == HOSTILE
    told = [(order.kind, order.candidate, order.budget) for order in asked(tmp_path)]
    assert told == [("budget", "", 0.3), ("drop", HOSTILE, 0.0), ("add", "", 0.0), ("stop", "", 0.0)]


def test_what_is_not_there_is_one_sentence(capsys, monkeypatch, tmp_path):
    assert "holds no selection" in refused(capsys, "page", tmp_path)
    with Journal(tmp_path, beginning()):
        pass
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "uvicorn" else name)
    said = "lensllm: the page needs uvicorn: pip install 'lensllm[page]'\n"
    assert refused(capsys, "page", tmp_path) == said
    assert refused(capsys, "select", "define", "--models", NAMES[0], "--page") == said
