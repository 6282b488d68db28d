"""What the hub lists: filters, pages, hubs that are away, busy or go away midway."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from hub_of_many import PAGE, at_hub, hub_of_many, made_up, model
from huggingface_hub import constants

from lensllm.errors import HubAway, InputError
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.listing import list_hub

MANY = [model(f"org/m{i}", downloads=10_000 - i, license=("mit", "apache-2.0")[i % 2]) for i in range(180)]


def names(hub, home, **options):
    with at_hub(hub, home):
        return list_hub(FindConfig.of(task="t", **options), lambda *_: None)


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were slept, and were not."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_pages_are_followed_to_the_limit(tmp_path):
    hub = hub_of_many(MANY, {})
    listing = names(hub, tmp_path, limit=120)
    assert [one.name for one in listing.models] == [f"org/m{i}" for i in range(120)]
    assert listing.notes == ()
    assert len(hub.asked) == 1 + -(-120 // PAGE)


def test_the_hub_filters_by_what_it_can(tmp_path):
    hub = hub_of_many(made_up(300), {})
    options = {"license": ["mit", "apache-2.0"], "language": ["it"], "max_parameters": "500M"}
    found = names(hub, tmp_path, **options).models
    queries = [parse_qs(urlsplit(asked.split()[1]).query) for asked in hub.asked[1:] if "cursor" not in asked]
    assert [query["filter"] for query in queries] == [
        [f"license:{one}", "it", "safetensors"] for one in options["license"]
    ]
    assert {query["gated"][0] for query in queries} == {"false"}
    assert {query["num_parameters"][0] for query in queries} == {"max:1B"}
    assert {query["sort"][0] for query in queries} == {"downloads"}
    assert {one for model in found for one in model.licences} == {"mit", "apache-2.0"}
    assert all("it" in one.tags and not one.gated for one in found)
    assert names(hub, tmp_path, limit=7, **options).models == found[:7]
    assert [one.downloads for one in found] == sorted((one.downloads for one in found), reverse=True)


def test_a_licence_that_the_hub_does_not_know(tmp_path):
    hub = hub_of_many(MANY, {})
    with pytest.raises(InputError, match=r"the hub knows no license 'apache2' \(near it: apache-2.0\): asked for"):
        names(hub, tmp_path, license=["apache2"])
    listing = names(hub, tmp_path, license=["apache2", "mit"])
    assert len(listing.models) == 90
    assert listing.notes == ("the hub lists no model with license:apache2",)


def test_nothing_is_listed_though_all_words_are_known(tmp_path):
    told = r"the hub lists no model: asked for task text-generation, license llama3.2, up to 3B parameters"
    with pytest.raises(InputError, match=told):
        names(hub_of_many(MANY, {}), tmp_path, license=["llama3.2"], max_parameters="3B")


def test_a_hub_that_is_not_there_is_told_at_once(tmp_path, monkeypatch):
    started = time.monotonic()
    with at_hub(hub_of_many(MANY, {}), tmp_path):
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(HubAway, match="the hub cannot be reached: try again"):
            list_hub(FindConfig.of(task="t"), lambda *_: None)
    with pytest.raises(HubAway, match=r"the hub cannot be reached \(HF_HUB_OFFLINE is set\)"):
        list_hub(FindConfig.of(task="t"), lambda *_: None)
    assert time.monotonic() - started < 10


def test_a_hub_that_goes_away_midway(tmp_path, waits):
    hub = hub_of_many(MANY, {})
    hub.answers = 3
    listing = names(hub, tmp_path, limit=180)
    assert len(listing.models) == 2 * PAGE
    assert len(listing.notes) == 1
    assert listing.notes[0].startswith("the hub cannot be reached after 100 models: try again online")


@pytest.mark.parametrize(("status", "told"), [(500, "HTTP 500"), (401, "log in with"), (404, "HTTP 404")])
def test_a_hub_that_lists_nothing(status, told, tmp_path, waits):
    hub = hub_of_many(MANY, {})
    hub.refused = status
    with pytest.raises(InputError, match=told):
        names(hub, tmp_path)


def test_a_busy_hub_is_waited_for(tmp_path, monkeypatch):
    hub = hub_of_many(MANY, {})
    hub.refused, hub.wait = 429, "7"
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        hub.refused = 0

    monkeypatch.setattr(time, "sleep", sleep)
    assert len(names(hub, tmp_path).models) == 180
    assert slept == [8.0]


def test_a_hub_that_asks_to_wait_too_long(tmp_path, waits):
    hub = hub_of_many(MANY, {})
    hub.refused, hub.wait = 429, "4000"
    with pytest.raises(InputError, match=r"too much was asked of it \(HTTP 429\); try again in 4000 seconds"):
        names(hub, tmp_path)
    assert waits == []


def test_a_list_that_cannot_be_read(tmp_path):
    odd = [*MANY[:60], model("org/odd", safetensors={"total": 3}, downloads=9_975), *MANY[60:]]
    listing = names(hub_of_many(odd, {}), tmp_path)
    assert len(listing.models) == 26
    assert listing.notes[0].startswith("what the hub lists cannot be read after 26 models: KeyError")
    with pytest.raises(InputError, match="what the hub lists cannot be read: "):
        names(hub_of_many([{**MANY[0], "createdAt": "then"}], {}), tmp_path)
