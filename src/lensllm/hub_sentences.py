"""What is said when the hub does not give something, of models and data sets alike."""

from __future__ import annotations

from typing import Any

TOO_MANY = 429
"""HTTP status of too many requests."""
LOG_IN = "log in with `hf auth login`"
OR_PRIVATE = f"mend the name, or {LOG_IN} if it is private"


def gated(name: str, kind: str = "") -> str:
    """That one has to ask for it.

    Args:
        name: of the repository.
        kind: the folder of its kind in the hub's addresses: `datasets`; empty for models.
    """
    from huggingface_hub import constants

    page = "/".join(part for part in (constants.ENDPOINT, kind, name) if part)
    return f"{name} is gated: ask for access at {page}, and {LOG_IN}"


def no_revision(name: str, revision: str | None) -> str:
    """That the repository is there and the revision is not."""
    return f"{name} has no revision {revision!r} on the hub"


def not_let(name: str, status: int) -> str:
    """That the user may not read it."""
    return f"the hub does not let you read {name} (HTTP {status}): {LOG_IN} as one who may"


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error; None where the hub did not answer."""
    response = response_of(error)
    return None if response is None else int(response.status_code)


def response_of(error: BaseException | None) -> Any:
    """What the hub answered, from an error that libraries wrap in others; None where it did not."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response
        error = error.__cause__ or error.__context__
    return None


def wait_of(response: Any) -> float | None:
    """Seconds that the hub asks to wait in an answer (`RateLimit` or `Retry-After`); None where it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    if (limit := parse_ratelimit_headers(response.headers)) is not None and not limit.remaining:
        return float(limit.reset_in_seconds)
    after = str(response.headers.get("Retry-After", ""))
    return float(after) if after.isdigit() else None
