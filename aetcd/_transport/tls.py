"""TLS settings as a user writes them, made into what a connection needs."""

from __future__ import annotations

import os
import ssl

from attrs import frozen

from aetcd.errors import ConfigError

__all__ = ["TLS", "make_context"]

Path = str | os.PathLike[str]


@frozen(kw_only=True)
class TLS:
    """How servers are checked, and who the client says it is.

    ca: File of the certificate authorities that are believed; None for the system's.
    cert: File of the client's own certificate chain, for mutual TLS.
    key: File of its private key, where it is not in `cert`.
    verify: False believes any server: for experiments only.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True


def make_context(tls: TLS | ssl.SSLContext | bool | None) -> ssl.SSLContext | None:
    """The context for https peers, or None for the default checks.

    Raises ConfigError, naming `tls`, where a file cannot be read or fits no key.
    """
    if tls is None or tls is True:
        return None
    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is False:
        tls = TLS(verify=False)
    if not isinstance(tls, TLS):
        raise TypeError(f"tls must be an aetcd.TLS, an ssl.SSLContext or a bool, not {tls!r}")
    if tls.key is not None and tls.cert is None:
        raise ConfigError("tls: a key was given without its cert")
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            # Without a function OpenSSL asks the terminal, and the whole program waits for it.
            context.load_cert_chain(tls.cert, tls.key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as e:
        raise ConfigError(f"tls: {e} (ca={tls.ca!s}, cert={tls.cert!s}, key={tls.key!s})") from e
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> str:
    raise ConfigError("tls: the key is encrypted: make an ssl.SSLContext of your own for it")
