"""API keys: `sk_<public>_<secret>`; the secret has 256 random bits and is stored only as its hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select

from softreg_jobs.ids import new_id
from softreg_jobs.tables import api_keys

__all__ = ["DEFAULT_TENANT", "SCOPES", "Caller", "any_key", "authenticate", "install", "is_well_formed", "mint"]

DEFAULT_TENANT = "ten_default"
SCOPES = ("read", "write", "admin")
_FORM = re.compile(r"sk_([0-9a-f]{16})_([0-9A-Za-z_-]{43})")
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key, its tenant, and what it may do."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]


def is_well_formed(key: str) -> bool:
    """Whether `key` is of the form that `mint` makes."""
    return _FORM.fullmatch(key) is not None


def mint(
    connection: Connection, *, name: str, tenant_id: str = DEFAULT_TENANT, scopes: tuple[str, ...] = SCOPES
) -> str:
    """Make and store a new key; the returned text is the only copy of it.

    Raises:
        ValueError: the name cannot be kept.
    """
    key = f"sk_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
    install(connection, key, name=name, tenant_id=tenant_id, scopes=scopes)
    return key


def install(
    connection: Connection,
    key: str,
    *,
    name: str,
    tenant_id: str = DEFAULT_TENANT,
    scopes: tuple[str, ...] = SCOPES,
) -> None:
    """Store a key that was made elsewhere.

    Raises:
        ValueError: it is not of the form that `mint` makes, or the name cannot be kept.
    """
    if not (name.isprintable() and 1 <= len(name) <= _LONGEST_NAME):
        raise ValueError(f"a key's name has 1 to {_LONGEST_NAME} printable characters")
    form = _FORM.fullmatch(key)
    if form is None:
        raise ValueError("a key has the form sk_<16 hex digits>_<43 url-safe characters>")
    connection.execute(
        insert(api_keys).values(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=name,
            public=form[1],
            secret_sha256=_hash(form[2]),
            scopes=list(scopes),
        )
    )


def any_key(connection: Connection) -> bool:
    """Whether at least one key works."""
    return connection.execute(select(api_keys.c.id).where(api_keys.c.revoked_at.is_(None)).limit(1)).first() is not None


def authenticate(connection: Connection, key: str) -> Caller | None:
    """The caller behind `key`, or None. Looked up by the public part, compared in constant time."""
    form = _FORM.fullmatch(key)
    if form is None:
        return None
    row = connection.execute(_WORKING, {"asked": form[1]}).first()
    if row is None or not hmac.compare_digest(row.secret_sha256, _hash(form[2])):
        return None
    return Caller(row.id, row.tenant_id, frozenset(row.scopes))


_WORKING = select(api_keys.c.id, api_keys.c.tenant_id, api_keys.c.scopes, api_keys.c.secret_sha256).where(
    api_keys.c.public == bindparam("asked"), api_keys.c.revoked_at.is_(None)
)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
