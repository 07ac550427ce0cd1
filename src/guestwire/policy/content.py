"""
What a policy finds in a text: words, patterns, links, scripts, personal data.

A policy is compiled once and looks in time that is linear in the text, however many rules it has: words by one
automaton, patterns by one set of RE2. What either of them cannot take is refused when the file is read.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple, cast

import ahocorasick_rs
import re2

from guestwire.errors import ConfigError, Finding
from guestwire.policy.normal import Normal, fold, normalise
from guestwire.policy.personal import KINDS, Kind, check_can_find, find_personal
from guestwire.policy.personal import mask as mask_of
from guestwire.settings.policy import Action, Links, Policy
from guestwire.settings.values import shown

#: So many findings of one rule in one text are told apart; the last of them reaches to the end of the text.
MAX_FINDINGS = 100
#: What stands in the place of something that may not leave.
MASK: Final = "[removed]"

_CALLED: Final[Mapping[Kind, str]] = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "the number of a payment card",
    "api_key": "a key that opens something",
}
_MASKS: Final = {f"personal.{kind}": mask_of(kind) for kind in KINDS}
SCRIPT: Final = "script.element"
LINK_DENIED: Final = "link.denied"
LINK_ELSEWHERE: Final = "link.elsewhere"
_ADDRESS = r"(?i)(?:[a-z][a-z0-9+.-]*://|\bwww\.)[^\s<>\"'`]+"
#: The name of an element ends at white space, at a slash or at the bracket; browsers pass over NUL.
_SCRIPT = r"(?i)<[\s\x00]*script(?:[\s/>\x00]|$)"
_surrogate = re.compile("[\ud800-\udfff]")
#: Ideographs, kana, Thai, Lao, Khmer, Burmese: scripts that put no spaces between words.
_unspaced = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
#: What stands around an address in a sentence.
_AROUND = ".,;:!?)]}'\"»”…。，！？"
#: Of a domain's name: characters of a label, and labels (RFC 1035, 2.3.4).
MAX_LABEL, MAX_LABELS = 63, 127
#: What stands for the dot between the labels of a name (RFC 3490, 3.1).
_dots = str.maketrans("\u3002\uff0e\uff61", "...")


class Place(NamedTuple):
    """Where a rule found something, in the text as it was written."""

    rule: str
    start: int
    end: int


#: What follows from which rule.
Actions = Mapping[str, Action]
#: Looks into a text in normal form, for what is not off.
_Look = Callable[[Normal, Actions], Iterator[Place]]


class _Said(NamedTuple):
    text: str
    fix: str


class Content:
    """
    A policy, ready to look.

    Args:
        policy: What was read.

    Raises:
        ConfigError: GW-C021, a pattern cannot be used; GW-C022, a group names a rule that there is not.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._said: dict[str, _Said] = {}
        self._actions: dict[str, Action] = {}
        self._looks: list[_Look] = []
        self._add_script()
        self._add_lists()
        self._add_patterns()
        self._add_links()
        self._add_personal()
        self._groups = [(group.guests, self._of_group(name)) for name, group in policy.groups.items()]
        everywhere = [self._actions, *(actions for _, actions in self._groups)]
        used = {rule for actions in everywhere for rule, action in actions.items() if action != "off"}
        check_can_find([kind for kind in KINDS if f"personal.{kind}" in used], region=policy.personal.region)
        self._allowed: list[_Look] = []
        if policy.allow.words:
            self._allowed.append(_words([("allow", word, False) for word in policy.allow.words]))
        if policy.allow.patterns:
            self._allowed.append(_patterns([_Pattern("allow", one, case=False) for one in policy.allow.patterns]))

    @property
    def rules(self) -> Actions:
        """Every rule, with what follows for guests of no group."""
        return self._actions

    def look(self, text: str, guest: str = "", path: str = "text") -> list[Finding]:
        """
        Return what a text holds, in the order of its places.

        Args:
            text: As the guest wrote it.
            guest: His key, for the groups.
            path: The field that it stands in, for the findings.
        """
        normal = normalise(text if text.isascii() else _surrogate.sub("\ufffd", text))
        actions = self._actions_for(guest)
        places = [place for look in self._looks for place in look(normal, actions) if actions[place.rule] != "off"]
        if not places:
            return []
        allowed = [place for look in self._allowed for place in look(normal, actions)]
        if allowed:
            places = _outside(places, allowed)
        return [
            Finding(
                place.rule,
                path,
                *self._said[place.rule],
                action=cast(Literal["reject", "redact", "park", "warn"], actions[place.rule]),
                span=(place.start, place.end),
            )
            for place in _bounded(places, len(text))
        ]

    def _actions_for(self, guest: str) -> Actions:
        mine = [actions for guests, actions in self._groups if any(fnmatchcase(guest, one) for one in guests)]
        if not mine:
            return self._actions
        actions = dict(self._actions)
        for more in mine:
            actions |= more
        return actions

    # --- making it ready ---

    def _add(self, rule: str, action: Action, text: str, fix: str) -> None:
        self._actions[rule] = action
        self._said[rule] = _Said(text, fix)

    def _add_script(self) -> None:
        self._add(SCRIPT, self.policy.script, "holds an HTML element that runs code", "send plain text")
        script = _compile(_SCRIPT, case=True)

        def look(normal: Normal, _actions: Actions) -> Iterator[Place]:
            if "<" in normal.text:
                yield from (Place(SCRIPT, *normal.span(*match.span())) for match in script.finditer(normal.text))

        self._looks.append(look)

    def _add_lists(self) -> None:
        literals: list[tuple[str, str, bool]] = []
        for name, words in self.policy.lists.items():
            rule = f"list.{name}"
            self._add(rule, words.action, f"holds a word of the list '{name}'", words.fix or "say it in other words")
            literals += [(rule, word, words.whole_words) for word in words.words]
        if literals:
            self._looks.append(_words(literals))

    def _add_patterns(self) -> None:
        patterns: list[_Pattern] = []
        for name, some in self.policy.patterns.items():
            rule = f"pattern.{name}"
            self._add(rule, some.action, f"matches the pattern '{name}'", some.fix or "say it in other words")
            patterns += [_Pattern(rule, pattern, case=some.case) for pattern in some.patterns]
        if patterns:
            self._looks.append(_patterns(patterns))

    def _add_links(self) -> None:
        links = self.policy.links
        self._add(LINK_DENIED, links.action, "links to a domain that is denied", links.fix or "leave the link out")
        self._add(
            LINK_ELSEWHERE, links.action, "links to a domain that is not allowed", links.fix or "leave the link out"
        )
        if links.allow or links.deny:
            self._looks.append(_links(links))

    def _add_personal(self) -> None:
        region = self.policy.personal.region
        for kind in KINDS:
            fix = "leave it out" if kind == "api_key" else "leave it out, or ask for it in another way"
            self._add(f"personal.{kind}", getattr(self.policy.personal, kind), f"holds {_CALLED[kind]}", fix)

        def look(normal: Normal, actions: Actions) -> Iterator[Place]:
            wanted = [kind for kind in KINDS if actions[f"personal.{kind}"] != "off"]
            for one in find_personal(normal.text, wanted, region=region):
                yield Place(f"personal.{one.kind}", *normal.span(one.start, one.end))

        self._looks.append(look)

    def _of_group(self, name: str) -> dict[str, Action]:
        wanted = self.policy.groups[name].actions
        for rule in wanted:
            if rule not in self._actions:
                known = ", ".join(sorted(self._actions))
                raise ConfigError(
                    f"groups.{name} of the policy '{self.policy.source}' names a rule that there is not: {rule!a}",
                    code="GW-C022",
                    hint=f"the rules are {known}",
                )
        return wanted


# --- words ---


def _words(literals: Sequence[tuple[str, str, bool]]) -> _Look:
    """Look for words; each with its rule, and whether it has to stand alone."""
    meant: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for rule, word, alone in literals:
        if needle := fold(normalise(word)).text.strip():
            meant[needle].append((rule, alone))
    rules = list(meant.values())
    automaton = ahocorasick_rs.AhoCorasick(list(meant), store_patterns=False)

    def look(normal: Normal, _actions: Actions) -> Iterator[Place]:
        folded = fold(normal)
        for number, start, end in automaton.find_matches_as_indexes(folded.text, overlapping=True):
            for rule, alone in rules[number]:
                if not alone or _stands_alone(folded.text, start, end):
                    yield Place(rule, *folded.span(start, end))

    return look


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (start > 0 and _goes_on(text[start - 1], text[start])) and not (
        end < len(text) and _goes_on(text[end - 1], text[end])
    )


def _goes_on(one: str, other: str) -> bool:
    """Whether two neighbours belong to one word. Between ideographs, and in Thai, nobody writes spaces."""
    return all(
        (character.isalnum() or character == "_") and not _unspaced.match(character) for character in (one, other)
    )


# --- patterns ---


class _Pattern(NamedTuple):
    rule: str
    pattern: str
    case: bool


def _compile(pattern: str, *, case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case
    options.never_capture = True  # places are asked for, not groups, of which each costs as much again
    return re2.compile(pattern, options)


def _patterns(patterns: Sequence[_Pattern]) -> _Look:
    """Look for patterns: all of them at once whether, and those that do where."""
    compiled = [(one.rule, _checked(one)) for one in patterns]
    sets = [*_sets(patterns)]

    def look(normal: Normal, _actions: Actions) -> Iterator[Place]:
        for together, numbers in sets:
            for found in range(len(numbers)) if together is None else together.Match(normal.text) or ():
                rule, pattern = compiled[numbers[found]]
                for match in itertools.islice(pattern.finditer(normal.text), MAX_FINDINGS + 1):
                    yield Place(rule, *normal.span(*match.span()))

    return look


def _sets(patterns: Sequence[_Pattern]) -> Iterator[tuple[Any, range]]:
    """
    Put patterns into sets, each with the numbers of its patterns; None: one that no set takes.

    A set holds so much and no more. It tries itself out when it is compiled, so that what compiles has the memory to
    look (RE2's compile.cc, CompileSet); what does not is halved.
    """
    waiting = [range(len(patterns))]
    while waiting:
        numbers = waiting.pop()
        try:
            yield _set_of([patterns[number] for number in numbers]), numbers
        except re2.error:
            if len(numbers) == 1:
                yield None, numbers
            else:
                half = len(numbers) // 2
                waiting += numbers[half:], numbers[:half]


def _set_of(patterns: Iterable[_Pattern]) -> Any:
    options = re2.Options()
    options.log_errors = False
    together = re2.Set.SearchSet(options)
    for one in patterns:
        # The flag holds to the end of the pattern. A group around it would be swallowed by an open \\Q.
        together.Add(one.pattern if one.case else f"(?i){one.pattern}")
    together.Compile()
    return together


#: Whether a pattern can match nothing hangs on what stands beside the place alone: an end, a line's end, a letter,
#: something else.
_NEIGHBOURS = [(f"{before}{after}", len(before)) for before in ("", "\n", "a", " ") for after in ("", "\n", "a", " ")]
_escapes = re.compile(r"\\(.)", re.DOTALL)


def _checked(one: _Pattern) -> Any:
    try:
        compiled = _compile(one.pattern, case=one.case)
        if any(compiled.fullmatch(text, place, place) for text, place in _NEIGHBOURS):
            problem = "matches the empty text, and so everywhere"
        elif "C" in _escapes.findall(one.pattern):
            problem = "cannot be used: \\C matches a part of a character"
        else:
            return compiled
    except UnicodeEncodeError:
        problem = "cannot be used: it holds half of a surrogate pair"
    except re2.error as error:
        # The engine quotes the pattern as it stands, which may be long, and obeyed by a terminal.
        reason = error.args[0]
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        problem = f"cannot be used: {shown(reason)[1:-1]}"
    raise ConfigError(
        f"{one.rule.replace('pattern.', 'patterns.')}: {shown(one.pattern)} {problem}",
        code="GW-C021",
        hint="patterns are those of RE2, without look-around and back-references, so that no text makes them slow",
    )


# --- links ---


def _links(links: Links) -> _Look:
    """Look where links lead."""
    address = _compile(_ADDRESS, case=True)
    allow, deny = ({_ascii(domain) for domain in domains} for domains in (links.allow, links.deny))
    bare = _words([(LINK_DENIED, domain, True) for domain in deny]) if deny else None

    def look(normal: Normal, _actions: Actions) -> Iterator[Place]:
        text = normal.text
        for match in itertools.islice(address.finditer(text), MAX_FINDINGS + 1):
            found = match[0].rstrip(_AROUND)
            host = host_of(found)
            place = normal.span(match.start(), match.start() + len(found))
            if _is_below(host, deny):
                yield Place(LINK_DENIED, *place)
            elif allow and not _is_below(host, allow):
                yield Place(LINK_ELSEWHERE, *place)
        if bare is not None:
            yield from bare(normal, _actions)

    return look


def host_of(address: str) -> str:
    """Return the host that a browser would go to, in ASCII and small letters; empty where there is none."""
    rest = address.partition("://")[2] if "://" in address else address
    host = re.split(r"[/\\?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return _ascii(re.sub(r":[0-9]*$", "", host))


def _ascii(domain: str) -> str:
    domain = domain.translate(_dots).strip(".").lower()
    if not domain.isascii() and any(len(label) > MAX_LABEL for label in domain.split(".")):
        return domain  # no name, and the codec takes the square of its length to find that out
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _is_below(host: str, domains: Collection[str]) -> bool:
    labels = host.rsplit(".", MAX_LABELS)
    return any(".".join(labels[number:]) in domains for number in range(len(labels)))


# --- findings ---


def _outside(places: Iterable[Place], allowed: Iterable[Place]) -> list[Place]:
    """Return the places that lie within none of those that are allowed: one walk over both, in their order."""
    outside: list[Place] = []
    after = sorted(allowed, key=lambda place: place.start, reverse=True)
    reach = 0  # the furthest end of what begins at or before the place
    for place in sorted(places, key=lambda place: place.start):
        while after and after[-1].start <= place.start:
            reach = max(reach, after.pop().end)
        if place.end > reach:
            outside.append(place)
    return outside


def _bounded(places: Iterable[Place], length: int) -> Iterator[Place]:
    """Return places in their order, of each rule so many; the last of too many reaches to the end."""
    seen: Counter[str] = Counter()
    for place in sorted(set(places), key=lambda place: (place.start, place.end, place.rule)):
        seen[place.rule] += 1
        if seen[place.rule] < MAX_FINDINGS:
            yield place
        elif seen[place.rule] == MAX_FINDINGS:
            yield place._replace(end=length)


def redact(text: str, findings: Iterable[Finding]) -> str:
    """Return a text in which what is to be redacted is masked; of places that overlap the first says how."""
    pieces: list[str] = []
    done = 0
    places = [(finding.span, finding.rule) for finding in findings if finding.action == "redact" and finding.span]
    for (start, end), rule in sorted(places):
        if start >= done:
            pieces += [text[done:start], _MASKS.get(rule, MASK)]
        done = max(done, end)
    return "".join([*pieces, text[done:]])
