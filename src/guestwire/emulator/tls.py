"""
TLS for the emulator: a certificate of one's own, or one made at the start with an authority of its own.

Imported only when TLS is on: without it nothing of this costs time.
"""

from __future__ import annotations

import datetime
import ipaddress
import pathlib
import shutil
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from guestwire.emulator.hosts import regional_names
from guestwire.emulator.settings import EmulatorSettings
from guestwire.errors import ConfigError

_LIFE = datetime.timedelta(days=30)
#: A clock that is a little behind must not find the certificate too young.
_SKEW = datetime.timedelta(hours=1)


class Tls:
    """
    The server's half of TLS.

    Args:
        settings: `tls`, and for files the two paths.

    Raises:
        ConfigError: The files cannot be used (GW-C036).
    """

    def __init__(self, settings: EmulatorSettings) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._folder: pathlib.Path | None = None
        #: What a client verifies by; None for a certificate that was given.
        self.ca_file: pathlib.Path | None = None
        if settings.tls == "files":
            _load(self.context, settings.tls_certificate, settings.tls_key)
        else:
            self._generate()

    def _generate(self) -> None:
        # The folder is readable by its owner only. The authority's key is never written, the server's only for as
        # long as it takes to load it: nobody can be made to trust anything else by this authority.
        folder = self._folder = pathlib.Path(tempfile.mkdtemp(prefix="guestwire-emulator-"))
        try:
            authority, chain, key = make_certificates()
            (folder / "chain.pem").write_bytes(chain)
            (folder / "key.pem").write_bytes(key)
            self.context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
            (folder / "key.pem").unlink()
            self.ca_file = folder / "ca.pem"
            self.ca_file.write_bytes(authority)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the CA file. May be called twice."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    if not certificate or not key:
        raise ConfigError(
            "tls=files needs tls_certificate and tls_key",
            code="GW-C036",
            hint="give both paths, or --set tls=generated to have a certificate made",
        )
    try:
        # A key with a passphrase would ask for it on the terminal; refuse it instead.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate {certificate!r} with the key {key!r} cannot be used: {error}",
            code="GW-C036",
            hint="both are PEM files, the key belongs to the certificate and has no passphrase",
        ) from error


def make_certificates() -> tuple[bytes, bytes, bytes]:
    """
    Make an authority and a server certificate for this machine and every regional host.

    Returns:
        PEM: the authority's certificate, the server's chain, the server's key.
    """
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("guestwire emulator authority")
    authority = (
        _unsigned(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in ("localhost", *regional_names())]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    server = (
        _unsigned(_name("guestwire emulator"), authority_name, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return authority.public_bytes(pem), server.public_bytes(pem), key


def _unsigned(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
