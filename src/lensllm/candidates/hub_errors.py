"""Why a model of the hub was not had, in one sentence made of what the hub's library says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)

from lensllm.errors import HubAway, HubBusy, InputError
from lensllm.hub_sentences import OR_PRIVATE, TOO_MANY, gated, no_revision, not_let, response_of, status_of, wait_of
from lensllm.text import shortened, visible


@contextmanager
def reasons(name: str, revision: str | None) -> Iterator[None]:
    """What goes wrong with the hub inside, as one sentence.

    Raises:
        HubAway: if the hub cannot be reached.
        HubBusy: if it asks to wait.
        InputError: in place of every other error of the hub's library.
    """
    try:
        yield
    except GatedRepoError as error:
        raise InputError(gated(name)) from error
    except RevisionNotFoundError as error:
        raise InputError(no_revision(name, revision)) from error
    except RepositoryNotFoundError as error:
        raise InputError(f"the hub has no model {name!r} that is open to you: {OR_PRIVATE}") from error
    except SafetensorsParsingError as error:
        raise InputError(f"{name} has weights that are not safetensors: {_said(error)}") from error
    except HFValidationError as error:
        raise InputError(f"the hub has no model {name!r}: {_said(error)}") from error
    except (ConnectionError, LocalEntryNotFoundError, HTTPError) as error:
        raise _not_given(name, error) from error
    except OSError as error:
        raise InputError(f"{name} cannot be fetched: {_said(error)}") from error


def _not_given(name: str, error: Exception) -> InputError:
    status = status_of(error)
    if status is None:
        told = "download it first, or give a folder"
        return HubAway(f"model {name!r} is not in the local cache and the hub cannot be reached: {told}")
    if status == TOO_MANY:
        told = f"the hub does not give {name} now: too much was asked of it (HTTP {status})"
        return HubBusy(told, wait_of(response_of(error)))
    if status in (401, 403):
        return InputError(not_let(name, status))
    return InputError(f"the hub does not give {name}: {_said(error)}")


def _said(error: Exception) -> str:
    return shortened(visible((str(error).splitlines() or [type(error).__name__])[0]), 200)
