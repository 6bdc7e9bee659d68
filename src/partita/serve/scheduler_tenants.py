"""Tenants: who asks for more than its share, and who draws more than its joules.

Rules: demand counts what was asked for, admitted or not, in seconds of undegraded work per second, and fades; under
pressure those furthest over their share pay first; names from requests never grow memory without bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

from ..errors import BadDocument
from .scheduler_energy import Bucket
from .scheduler_orders import Tenant

# Tenants nobody declared are told apart up to this number; the rest share one account.
_MOST_UNDECLARED = 1024
_OTHERS = "(others)"
# Who asks for at least this part of what the greediest asks for, measured in shares, pays with the greediest: demand is
# a noisy estimate, and a tenant just at its share must not pay like one at six times its share.
_GREEDY = 0.5
# Demand below this is nobody's pressure.
_NOTHING = 1e-6


class Account:
    """What is known of one tenant."""

    def __init__(self, number: int, tenant: Tenant, declared: bool, window: float) -> None:
        self.number, self.name, self.weight, self.declared = number, tenant.name, tenant.weight, declared
        self.demand = 0.0
        self.seen = 0.0
        self.over = False
        draw = tenant.joules_per_second
        self.bucket = Bucket(draw, window) if draw is not None else None


class Tenants:
    """All accounts, and which of them are over their share."""

    def __init__(self, tenants: Iterable[Tenant], workers: int, memory: float, window: float) -> None:
        self.declared = declared = list(tenants)
        problems = [f"{t.name}.weight: {t.weight!r} is not positive" for t in declared if not t.weight > 0]
        problems += [
            f"{t.name}.joules_per_second: {t.joules_per_second!r} is not positive"
            for t in declared
            if t.joules_per_second is not None and not t.joules_per_second > 0
        ]
        names = [t.name for t in declared]
        problems += [f"{name}: declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if problems:
            raise BadDocument("tenants", problems, fix="give each tenant one name and a weight above 0")
        self.accounts: list[Account] = []
        self._by_name: dict[str, Account] = {}
        self._workers, self._memory, self._window = workers, memory, window
        self._swept = 0.0
        self._weights = 0.0
        for tenant in declared:
            self._open(tenant, declared=True)

    def __getitem__(self, number: int) -> Account:
        return self.accounts[number]

    def find(self, name: str) -> Account:
        """The account of a name; opened where it is new."""
        account = self._by_name.get(name)
        if account is None:
            known = len(self.accounts) - len(self.declared)
            account = (self._by_name.get(_OTHERS) if known >= _MOST_UNDECLARED else None) or self._open(
                Tenant(name if known < _MOST_UNDECLARED else _OTHERS), declared=False
            )
        return account

    def asks(self, account: Account, work: float, now: float) -> list[Account]:
        """Count a request of so many seconds. Gives back the accounts that came over or under their share."""
        account.demand = self._faded(account, now) + work / self._memory
        account.seen = now
        # Looking at all is for now and then: it is as long as the list of tenants.
        if now - self._swept >= self._memory / 8:
            self._swept = now
            return self._judge(now)
        return []

    def excess(self, account: Account) -> float:
        """Demand in shares: above 1 is more than fair."""
        return account.demand * self._weights / (account.weight * self._workers)

    def _judge(self, now: float) -> list[Account]:
        for account in self.accounts:
            account.demand = self._faded(account, now)
            account.seen = now
        # Shares are of those who ask for something, or were promised something.
        self._weights = sum(a.weight for a in self.accounts if a.declared or a.demand > _NOTHING)
        excess = [self.excess(account) for account in self.accounts]
        line = max(1.0, _GREEDY * max(excess))
        # Who is alone takes nobody's share, and pays for its own load.
        alone = sum(account.demand > _NOTHING for account in self.accounts) <= 1
        changed = []
        for account, shares in zip(self.accounts, excess, strict=True):
            pays = account.demand > _NOTHING if alone else shares > line
            if account.over != pays:
                account.over = pays
                changed.append(account)
        return changed

    def _faded(self, account: Account, now: float) -> float:
        return account.demand * exp(-max(0.0, now - account.seen) / self._memory)

    def _open(self, tenant: Tenant, *, declared: bool) -> Account:
        account = Account(len(self.accounts), tenant, declared, self._window)
        account.over = not self.accounts
        self._weights += tenant.weight
        self.accounts.append(account)
        self._by_name[tenant.name] = account
        return account
