"""The samples of docs/api.md that verify a webhook, on the request of the test in webhook_signature.rs."""

import pathlib
import re
import subprocess
import sys

import pytest

from stack.settings import ROOT

RUST = (ROOT / "shared/service/src/webhook_signature.rs").read_text()
SECTION = (ROOT / "docs/api.md").read_text().split("#### Verifying a webhook")[1].split("\n### ")[0]
SAMPLES = dict(re.findall(r"^```(python|js)\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))
KEY = "whsec_YW4gZXhhbXBsZSBrZXkgb2YgMzIgcmFuZG9tIGJ5dGU="
BODY = '{"state":"firing"}'
SENT_AT = 1_709_294_400
HEADERS = dict(re.findall(r'\("(webhook-[a-z]+)", "([^"]+)"\)', RUST.split("#[test]")[1]))

# Key, headers, body, seconds since it was sent, and whether it is accepted.
REQUESTS = [
    (KEY, HEADERS, BODY, 0, True),
    (KEY, HEADERS, BODY, 299, True),
    (KEY, HEADERS, BODY, 301, False),
    (KEY, HEADERS, BODY, -301, False),
    (KEY, HEADERS, BODY + " ", 0, False),
    (KEY, HEADERS | {"webhook-id": "shop/errors/1/2"}, BODY, 0, False),
    (KEY, HEADERS | {"webhook-timestamp": str(SENT_AT + 1)}, BODY, 0, False),
    (KEY, HEADERS | {"webhook-signature": "v1,x " + HEADERS["webhook-signature"]}, BODY, 0, True),
    (KEY, HEADERS | {"webhook-signature": "v1,x"}, BODY, 0, False),
    ("whsec_" + "A" * 43 + "=", HEADERS, BODY, 0, False),
]


def test_the_sample_has_all_headers():
    assert set(HEADERS) == {"webhook-id", "webhook-timestamp", "webhook-signature"}


@pytest.mark.parametrize(("key", "headers", "body", "age", "accepted"), REQUESTS)
def test_the_sample_in_python_accepts_what_is_signed_and_nothing_else(key, headers, body, age, accepted, monkeypatch):
    names = {}
    exec(SAMPLES["python"], names)
    monkeypatch.setattr(names["time"], "time", lambda: SENT_AT + age)
    assert names["verified"](key, headers, body.encode()) is accepted


@pytest.mark.parametrize(("key", "headers", "body", "age", "accepted"), REQUESTS)
def test_the_sample_in_javascript_accepts_what_is_signed_and_nothing_else(key, headers, body, age, accepted, tmp_path):
    node = pathlib.Path(sys.executable).with_name("node")
    script = tmp_path / "sample.mjs"
    call = f"Date.now = () => {(SENT_AT + age) * 1000}\nconsole.log(verified({key!r}, {headers!r}, {body!r}))\n"
    script.write_text(SAMPLES["js"] + call)
    run = subprocess.run([node, script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(accepted).lower()
