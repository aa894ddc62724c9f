"""1,000,000 integers: BatchFunction → map → map → filter → map → sink, against a plain loop over the same methods."""

from __future__ import annotations

from _measure import in_turn, report

from sage.core.api import BatchFunction, FilterFunction, LocalEnvironment, MapFunction, SinkFunction

RECORDS = 1_000_000


class Count(BatchFunction):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.number = 0

    def execute(self) -> int | None:
        number = self.number
        if number >= self.limit:
            return None
        self.number = number + 1
        return number


class AddOne(MapFunction):
    def execute(self, value: int) -> int:
        return value + 1


class Double(MapFunction):
    def execute(self, value: int) -> int:
        return value * 2


class NotByThree(FilterFunction):
    def execute(self, value: int) -> bool:
        return value % 3 != 0


class Total(SinkFunction):
    """Adds up on the class, so that both ways of running can be compared."""

    total = 0

    def execute(self, value: int) -> None:
        Total.total += value


def plain_loop() -> int:
    source, first, second = Count(RECORDS).execute, AddOne().execute, Double().execute
    keep, third, sink = NotByThree().execute, AddOne().execute, Total().execute
    Total.total = 0
    while (value := source()) is not None:
        value = second(first(value))
        if keep(value):
            sink(third(value))
    return Total.total


def on_sage(backend: str) -> int:
    Total.total = 0
    env = LocalEnvironment("stateless-chain", backend=backend)
    env.from_batch(Count, RECORDS).map(AddOne).map(Double).filter(NotByThree).map(AddOne).sink(Total)
    env.submit(autostop=True)
    return Total.total


def main() -> None:
    assert plain_loop() == on_sage("local"), "both ways must agree"
    measured = in_turn({"plain loop": plain_loop, "sage, local": lambda: on_sage("local")}, rounds=9)
    report(
        "stateless chain, 1,000,000 records",
        measured,
        [("plain loop", "sage, local", "speed of sage against the plain loop")],
    )


if __name__ == "__main__":
    main()
