"""Services: one instance per host, which outlives the functions that call it."""

from __future__ import annotations

import os
from typing import Any

from sage.core.api.function.base_function import BaseFunction
from sage.core.api.service.base_service import BaseService
from sage.core.testing.conformance._functions import itself
from sage.core.testing.conformance._promises import promise
from sage.core.testing.conformance.kit import Bell, Kit

__all__ = ["Price", "Prices", "one_per_host", "outlives_functions", "raises_at_the_call"]

_PAGE = "reference/services.md"


class Prices(BaseService):
    """Tells of its life."""

    def __init__(self, bell: Bell, factor: int) -> None:
        self.bell = bell
        self.factor = factor

    def open(self, context: Any) -> None:
        self.is_open = True
        self.bell.ring(f"open service {os.getpid()}")

    def of(self, item: int) -> tuple[int, int, int]:
        assert self.is_open
        if item < 0:
            raise LookupError(f"no price for {item}")
        return os.getpid(), id(self), item * self.factor

    def close(self) -> None:
        self.is_open = False
        self.bell.ring(f"close service {os.getpid()}")


class Price(BaseFunction):
    """Asks the service, and tells of its own life."""

    def __init__(self, bell: Bell) -> None:
        self.bell = bell

    def open(self, context: Any) -> None:
        self.bell.ring(f"open function {os.getpid()}")

    def execute(self, item: int) -> Any:
        return self.call_service("prices").of(item)

    def close(self) -> None:
        self.bell.ring(f"close function {os.getpid()}")


@promise("services.one", "A service has one instance per host, whichever of its tasks call it.", _PAGE)
def one_per_host(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.register_service("prices", Prices, bell, 10)
    items = env.from_batch(range(60)).rebalance()
    found = items.map(Price, bell, parallelism=3).collect()
    more = items.map(itself, parallelism=2).rebalance().map(Price, bell, parallelism=2).collect()
    ended = kit.run(env)
    hosts = {(info.name, info.pid) for info in ended.probe.placement.values()}
    instances = {(pid, instance) for pid, instance, _ in [*found, *more]}
    assert sorted(price for *_, price in found) == [10 * item for item in range(60)]
    assert len(instances) == len({pid for pid, _ in instances}), f"one instance per process: {instances}"
    assert {pid for pid, _ in instances} <= {pid for _, pid in hosts}, "a service is where its tasks are"


@promise("services.life", "A service is opened before the functions of its host, and closed after them.", _PAGE)
def outlives_functions(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.register_service("prices", Prices, bell, 10)
    env.from_batch(range(6)).rebalance().map(Price, bell, parallelism=3).collect()
    kit.run(env)
    heard = [text.rpartition(" ") for text in bell.heard(8, kit.limit)]
    for pid in {pid for *_, pid in heard}:
        mine = [text for text, _, of in heard if of == pid]
        users = (len(mine) - 2) // 2
        parts = ["open service", *["open function"] * users, *["close function"] * users, "close service"]
        assert mine == parts, f"in process {pid}: {mine}"


@promise("services.raise", "What a service raises is raised where it was called.", _PAGE)
def raises_at_the_call(kit: Kit) -> None:
    env, bell = kit.environment(), kit.bell()
    env.register_service("prices", Prices, bell, 10)
    env.from_batch([-7]).rebalance().map(Price, bell, uid="asks").collect()
    failure = kit.fail(env)
    assert (failure.uid, failure.record) == ("asks", "-7")
    assert "no price for -7" in failure.message
