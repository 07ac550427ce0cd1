"""docs/policy.md names every rule, and its examples do what it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guestwire import Draft, Limits
from guestwire.checking import ANYWHERE
from guestwire.model import GuestKey
from guestwire.policy.content import Content
from guestwire.policy.verdict import judge
from guestwire.settings.policy import Policy, parse_policy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([a-z_.NAME]+)` \| (.*?) \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
#: Made of a path, or of the name of a field.
COMPOSED = {"guest.too_long", "key.too_long"} | {
    f"{field}.not_here" for field in ("conversation", "profile", "attributes", "answer")
}
(FILE,) = re.findall(r"<!-- policy -->\n```toml\n(.*?)```", PAGE, re.DOTALL)


def rules_in_code() -> Iterator[str]:
    """The first argument of each `Finding(...)`, where it is a plain text."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    yield str(first.value)


def of_page() -> Policy:
    """The policy that the page shows."""
    return parse_policy(FILE, Path("policy.toml"), lambda path: path.read_text())


def test_every_rule_has_a_line() -> None:
    """And every line a rule."""
    of_policies = {*Content(Policy()).rules, "list.NAME", "pattern.NAME"}
    assert {rule for rule, *_ in ROWS} == {*rules_in_code(), *of_policies, *COMPOSED}


@pytest.mark.parametrize(
    ("rule", "action"),
    [(rule, action) for rule, _, action, _ in ROWS if rule.startswith(("script", "link.denied", "personal"))],
)
def test_defaults_are_those_of_the_code(rule: str, action: str) -> None:
    """Of somebody who has no policy file."""
    assert Content(Policy()).rules[rule] == action


EXAMPLES = [
    (rule, example)
    for rule, _, _, text in ROWS
    if rule.startswith(("script", "list", "pattern", "personal", "link.denied", "link.elsewhere"))
    for example in re.findall(r"`(.*)`", text)
]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_examples_are_found_by_their_rule(rule: str, example: str) -> None:
    """By the policy of the page, with everything on."""
    policy = parse_policy(FILE.replace('"off"', '"warn"'), Path("policy.toml"), lambda path: path.read_text())
    found = {finding.rule for finding in Content(policy).look(example)}
    assert {re.sub(r"^(list|pattern)\..*", r"\1.NAME", name) for name in found} >= {rule}


def test_there_are_examples() -> None:
    """Of each rule that looks into texts."""
    assert len(EXAMPLES) == len({rule for rule, _ in EXAMPLES}) == 9


def test_the_file_of_the_page_can_be_used() -> None:
    """With its group and what it allows."""
    rules = Content(of_page())
    assert rules.look("I live in Acme Street, NL-00000") == []
    assert [(one.rule, one.action) for one in rules.look("Acme 4111 1111 1111 1111", "staff-1")] == [
        ("personal.card", "reject")
    ]


def test_the_rule_of_the_page_works() -> None:
    """As it stands."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "policy.md", "exec"), names)  # noqa: S102 - our own page
    draft = Draft(destination="anywhere", guest=GuestKey("1"), text="where is NL-48213?")
    verdict = judge(draft, ANYWHERE, Content(Policy()), [names["no_order_numbers"]], now=1.0)
    assert [body.text for body in verdict.bodies] == ["where is [removed]?"]
    assert names["no_order_numbers"](Draft(destination="x", guest=GuestKey("1"), text="hi"), Limits()) == []
