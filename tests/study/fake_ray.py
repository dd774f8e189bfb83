"""Stand-ins for Ray: one whose answers are written down, and one whose actors are objects of this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from segshift.study.jobs import Message


class Gone(Exception):
    pass


class Failed(Exception):
    @property
    def cause(self) -> Exception:
        return self


def kinds(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.kind, message.key) for message in messages]


class FakeRay:
    """Answers are what `script` gives for each call; an exception is raised when it is fetched."""

    exceptions = SimpleNamespace(RayError=Gone, RayTaskError=Failed)

    def __init__(self, nodes: list[dict[str, float]], script: Callable[[str, str], Any]) -> None:
        self.resources, self.script = nodes, script
        self.killed: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.closed = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": resources} for resources in self.resources]

    def remote(self, kind: type) -> Any:
        def create(*_: Any) -> Any:
            keys: list[str] = []

            def call(name: str) -> Any:
                def remote(argument: Any = None) -> tuple[str, str]:
                    if name == "begin":
                        keys.append(argument["key"])
                    return name, keys[-1]

                return SimpleNamespace(remote=remote)

            return SimpleNamespace(**{name: call(name) for name in ("begin", "wait", "stop")})

        def options(**wanted: Any) -> Any:
            self.asked.append(wanted)
            return SimpleNamespace(remote=create)

        return SimpleNamespace(options=options)

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        ready = [call for call in calls if self.script(*call) is not None]
        return ready[:num_returns], []

    def get(self, call: Any) -> Any:
        answer = self.script(*call)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, str) else [message.__dict__ for message in answer]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.closed = True


class InProcess(FakeRay):
    """Two machines whose actors are objects here."""

    def __init__(self) -> None:
        super().__init__([{"CPU": 1}, {"CPU": 1}], lambda name, key: None)

    def remote(self, kind: type) -> Any:
        def create(*arguments: Any) -> Any:
            place = kind(*arguments)

            def call(name: str) -> Any:
                return SimpleNamespace(remote=lambda *given: Lazy(lambda: getattr(place, name)(*given)))

            return SimpleNamespace(**{name: call(name) for name in ("begin", "wait", "stop")})

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=create))

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return calls[:num_returns], []

    def get(self, call: Any) -> Any:
        return call.compute()


@dataclass(frozen=True, eq=False)
class Lazy:
    compute: Callable[[], Any]
