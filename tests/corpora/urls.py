"""
Addresses that lead inside, or may for some reader: each of them has to be refused before anything connects.

Groups of those that their spelling gives away, and of names with what a resolver says of them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

PUBLIC: Final = "93.184.216.34"
PUBLIC_6: Final = "2606:2800:220:1:248:1893:25c8:1946"

#: Loopback, private networks, clouds' stores of credentials, this host.
INSIDE: Final = (
    *("127.0.0.1", "127.255.255.254", "10.0.0.7", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *(
        "169.254.170.2",
        "100.100.100.200",
        "100.64.0.1",
        "168.63.129.16",
        "192.0.0.192",
        str(IPv4Address(0)),
        "255.255.255.255",
    ),
    *("224.0.0.251", "198.18.0.1", "240.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
)


def spellings_of(address: str) -> list[str]:
    """An IPv4 address as one reader or another takes it."""
    number = int(IPv4Address(address))
    a, b, c, d = number.to_bytes(4, "big")
    fullwidth = str.maketrans("0123456789.", "０１２３４５６７８９．")
    ideographic = str.maketrans({".": "。"})
    return [
        address,
        f"{number}",
        f"{number:#x}",
        f"{number:#X}",
        f"0{number:o}",
        f"{number + 2**32}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a:#x}.{b}.0{c:o}.{d}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
        f"{address}.",
        f"{a + 256}.{b}.{c}.{d}",
        address.translate(fullwidth),
        address.translate(ideographic),
        "".join(f"%{ord(one):02x}" for one in address),
    ]


def six_of(address: str) -> list[str]:
    """IPv6 addresses that stand for an IPv4 address."""
    number = int(IPv4Address(address))
    mapped = IPv6Address(0xFFFF << 32 | number)
    return [
        f"[::ffff:{address}]",
        f"[{mapped.exploded.upper()}]",
        f"[0:0:0:0:0:FFFF:{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b:1::{address}]",
        f"[{IPv6Address(0x2002 << 112 | number << 80 | 1)}]",
        f"[::{address}]",
        f"[::ffff:0:{address}]",
        f"[2001:0:{address}::]",
    ]


_SIX: Final = (
    *("[::]", "[::1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[0::1]", "[::1%25lo]", "[::1%lo]", "[fe80::1]"),
    *("[fe80::1%25eth0]", "[febf::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "[fdff::1]"),
    *(
        "[ff02::1]",
        "[ff05::1:3]",
        "[2001::1]",
        "[2001:10::1]",
        "[2001:20::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[100::1]",
    ),
    *("[5f00::1]", "[4000::1]", "[v1.x]", "[::1", "::1]", "::1", "[]", "[[::1]]", "[::1]a", "a[::1]", "[1]", "[:::1]"),
)
_NAMES: Final = (
    *("localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "localhost6.localdomain6"),
    *("ip6-localhost", "ip6-loopback", "broadcasthost", "metadata", "metadata.google.internal", "instance-data"),
    *(
        "instance-data.ec2.internal",
        "host.docker.internal",
        "gateway.docker.internal",
        "kubernetes",
        "KUBERNETES.DEFAULT.SVC",
    ),
    *("kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "consul.service.consul", "printer.local"),
    *("router.lan", "fritz.home", "nas.home.arpa", "crm.corp", "wiki.intranet", "db.private", "a.onion", "a.alt"),
    *("x.invalid", "x.test", "crm", "db", "a_b", "wpad", "router", "intranet", "0x7f.1", "1.0x7f", "files.example.1"),
    *(
        "files.example.0x7f",
        "files.example.0",
        "localhost%00.example",
        "localhost%2eexample",
        "%6c%6f%63%61%6c",
        "ⓛocalhost",
    ),
    *(
        "lo\u00adcalhost",
        "local\u200bhost",
        "files。example",
        "files．example",
        "ﬁles.example",
        "büc.example",
        "\u212a8s.example",
    ),
    *(
        "-files.example",
        "files-.example",
        "files..example",
        ".files.example",
        "files.example..",
        "*.example",
        "a b.example",
    ),
    *(
        f"{'a' * 64}.example",
        f"{'a.' * 127}example",
        "fi!es.example",
        "files,example",
        "files;example",
        "fi'les.example",
    ),
)
_AUTHORITIES: Final = (
    *("joe@files.example", "joe:pw@files.example", "@files.example", ":@files.example", "files.example@127.0.0.1"),
    *("127.0.0.1@files.example", "files.example:443@127.0.0.1", "files.example:pw@[::1]", "a@b@files.example"),
    *(
        "files.example%40127.0.0.1",
        "files.example\\@127.0.0.1",
        "127.0.0.1\\@files.example",
        "127.0.0.1%5c@files.example",
    ),
    *("files.example\\.evil.example", "files.example:", "files.example:0", "files.example:65536", "files.example:-1"),
    *(
        "files.example:443:80",
        "files.example:+443",
        "files.example: 443",
        "files.example:４４３",
        "files.example:0x1bb",
    ),
    *("files.example:443abc", "files.example:1e3", "127.0.0.1:443", "127.0.0.1:22", "[::1]:443", "localhost:8080", ""),
    *(":443", "\t127.0.0.1", "127.0.0.1\t", " 127.0.0.1", "files.example ", "files.example\x00.evil", "127.0.0.1\x0b"),
    *("files.example\r\nHost: x", "files.example\n", "files\t.example", "files.example\x7f", "127.0.0.1﹟@a.example"),
    *("127.0.0.1℀.example", "127。0。0。1", "①②⑦.⓪.⓪.①", "files.example&@127.0.0.1", "files.example|127.0.0.1"),
    *("files.example;@127.0.0.1", "files.example,127.0.0.1", "$127.0.0.1", "{127.0.0.1}", "<127.0.0.1>", '"127.0.0.1"'),
)
_WHOLE: Final = (
    *(
        "http://files.example/",
        "HTTP://files.example/",
        "ftp://files.example/",
        "ftps://files.example/",
        "ws://files.example",
    ),
    *("wss://files.example/", "file:///etc/passwd", "file://localhost/etc/passwd", "gopher://127.0.0.1:6379/_INFO"),
    *(
        "dict://127.0.0.1:11211/",
        "ldap://127.0.0.1/",
        "sftp://127.0.0.1/",
        "tftp://127.0.0.1/",
        "jar:http://127.0.0.1!/",
    ),
    *(
        "javascript:alert(1)",
        "data:text/plain,x",
        "blob:https://files.example/x",
        "about:blank",
        "view-source:https://x.example",
    ),
    *(
        "mailto:a@b.example",
        "unix:/var/run/docker.sock",
        "http+unix://%2fvar%2frun%2fdocker.sock/x",
        "netdoc:///etc/passwd",
    ),
    *(
        "https:files.example",
        "https:/files.example",
        "https:///files.example",
        "https:////127.0.0.1/",
        "https:\\\\127.0.0.1",
    ),
    *(
        "https:/\\127.0.0.1",
        "//files.example/",
        "///files.example",
        "files.example",
        "files.example:443",
        "/x",
        "?x",
        "#x",
        "",
    ),
    *(
        " ",
        "https://",
        "https:// ",
        "https://?x",
        "https://#x",
        "https://files.example/a b",
        "https://files.example/\x01",
    ),
    *(
        "https://files.example/\r\nX: y",
        "https://files.example/\x85",
        "https://files.example/\\x",
        "https://files.example/é",
    ),
    *(" https://files.example/", "https://files.example/ ", "\ufeffhttps://files.example/", "https ://files.example/"),
    *(
        "ht\ntps://files.example/",
        "https\x00://files.example/",
        "ｈttps://files.example/",
        "https:／／127.0.0.1/",
        "1https://a.b",
    ),
    *("https://files.example/\ud800", "https://files.example/\u202e", "url:https://127.0.0.1/", "<https://127.0.0.1/>"),
)


def refused_by_spelling() -> dict[str, list[str]]:
    """Addresses that nobody has to ask a resolver about, in groups."""
    rest = "/latest/meta-data/?X-Amz-Signature=c4n4ry"
    return {
        "IPv4": [f"https://{host}{rest}" for address in INSIDE for host in spellings_of(address)],
        "IPv6 that stands for IPv4": [f"https://{host}{rest}" for address in INSIDE for host in six_of(address)],
        "IPv6": [f"https://{host}{rest}" for host in _SIX],
        "names": [f"https://{host}{rest}" for host in _NAMES],
        "authorities": [f"https://{host}{rest}" for host in _AUTHORITIES],
        "the whole": list(_WHOLE),
    }


#: What a resolver may say of a name that looks like any other; one inside is enough.
RESOLVED: Final[tuple[tuple[str, ...], ...]] = (
    *((address,) for address in INSIDE),
    *((PUBLIC, address) for address in INSIDE),
    *((address, PUBLIC_6) for address in INSIDE),
    *((f"::ffff:{address}",) for address in INSIDE),
    *((f"64:ff9b::{address}",) for address in INSIDE),
    *((PUBLIC_6, f"64:ff9b:1::{address}") for address in INSIDE),
    *(("::1",), ("::",), ("fe80::1%eth0",), ("2606:2800::1%eth0",), ("fd00:ec2::254",), ("fec0::1",), ("ff02::1",)),
    *(("2001:db8::1",), ("2002:7f00:1::",), ("2002:a9fe:a9fe::1",), ("2001:0:7f00:1::",), ("3fff::1",), ("4000::1",)),
    *(
        ("nonsense",),
        ("127.1",),
        ("0x7f000001",),
        ("2130706433",),
        ("",),
        (" 127.0.0.1",),
        ("127.0.0.1\0",),
        ("::1/128",),
    ),
)
#: Public names that anybody can point anywhere, as services do.
POINTING_NAMES: Final = (
    *("127.0.0.1.nip.io", "localtest.me", "lvh.me", "metadata.tencentyun.com", "spoofed.burpcollaborator.net"),
    *("xn--bcher-kva.example", "my_bucket.s3.example", "a.b.c.d.example", "0x7f.example", "127.0.0.1.example"),
)
