"""JSON in all its forms, and frames with something wrong in them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from tests.wire import derive_facts

_NAMES = sorted({part.removesuffix("[]") for fact in derive_facts.read_csv() for part in fact.path.split(".")})
_WORDS = [
    "SessionResponse", "StructuredMessage", "JwtResponse", "string", "Error", "onMessage", "echo", "closeSession",
    "configureSession", "Inbound", "Outbound", "Text", "Event", "Presence", "Disconnect", "Join", "Clear", "message",
    "response", "signedIn", "true", "nan", "-inf", "1e999", "", "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ=", "part-1", "request-1",
]  # fmt: skip

#: No lone surrogates: they are no JSON text that can be encoded (see `test_what_is_no_object_is_malformed`).
texts = st.sampled_from(_WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 200, 400, 401, 403, 409, 429, 4006, 4007, 4011, 5000, 2**63, 2**64, 10**40, -(10**400)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
keys = st.sampled_from(_NAMES) | texts
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=8
)
json_objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, json_values, max_size=8)


@st.composite
def mutated(draw: st.DrawFn, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one of the examples with up to three values swapped, added or taken out."""
    data: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_containers(data))
        holder = draw(st.sampled_from(places))
        if isinstance(holder, dict):
            key = draw(st.sampled_from(sorted(holder)) | keys) if holder else draw(keys)
            if draw(st.booleans()):
                holder[key] = draw(json_values)
            else:
                holder.pop(key, None)
        elif holder:
            holder[draw(st.integers(0, len(holder) - 1))] = draw(json_values)
    return data


def _containers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(found for inner in value.values() for found in _containers(inner))]
    if isinstance(value, list):
        return [value, *(found for inner in value for found in _containers(inner))]
    return []
