"""What a keeper does for its client: it looks after the runner, the attempts and their reports.

Rule 1: of the attempts of a runner that dies only those that really ran count towards "kills
its worker".
Rule 2: what is told of an attempt is told in order: its checkpoints, its end, that it stopped.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Set

from . import PROTOCOL, charge, checkpoint, greeting, hostfolder, process, pythons, tidy, wire
from .client import Client, Ground
from .hired import Callbacks, Hired, Watcher
from .hostfolder import HostFolder
from .packs import Packs
from .roster import Roster
from .sending import Saved
from .shelf import SYNC_S, Shelf

_LINGER_S = 3600.0
_SPARE = ("usage", "progress")
_RECALLED = "the batch system ends its job"


class Duty:
    """The work of one folder."""

    def __init__(self, folder: HostFolder, archive: str, watch: Watcher) -> None:
        self._folder = folder
        self._archive = archive
        folder.make_tree()
        rebooted = tidy.was_rebooted(folder)
        process.kill_leftovers(folder.root)
        self._died = charge.at_hand(folder.root)
        charge.clean(folder.root)
        tidy.begin_anew(folder)
        self.shelf = Shelf(folder, rebooted=rebooted)
        tidy.keep_staged(folder, self.shelf.staged())
        self.client: Optional[Client] = None
        self.closed_at = 0.0  #: monotonic clock: the grace ends; 0: nobody said close
        self.linger_s = _LINGER_S
        self._packs = Packs(folder)
        self._roster = Roster(folder.root, self._packs)
        self.ground = Ground(folder, self.shelf, self._packs)
        self._owners = {greeting.key_of(each): each for each in tidy.replicas(folder)}
        self._pythons: Dict[str, str] = {}
        self._sync_at = math.inf
        self._stopping: Set[str] = set()
        self.runner = Hired(
            archive,
            folder.root,
            Callbacks(
                watch, self._understand, self._roster.all_again, self._bury, self._tell_change
            ),
        )
        self._verbs: Dict[str, Callable[[Dict[str, Any]], None]] = {
            "launch": self._launch,
            "stop": self._stop,
            "release": self._release,
            "drop": self._drop,
            "tail": self._tail,
            "slots": self._set_slots,
            "close": self._close,
        }

    @property
    def is_busy(self) -> bool:
        """Whether there are live attempts."""
        return bool(len(self._roster))

    @property
    def has_reports(self) -> bool:
        """Whether there are reports that nobody was released from."""
        return bool(len(self.shelf))

    @property
    def due_at(self) -> float:
        """When `turn` has something to do, on the monotonic clock."""
        return min(self.runner.start_at, self._sync_at)

    def turn(self, now: float) -> None:
        """Do what is due."""
        self.runner.turn(now, is_busy=self.is_busy)
        if not self.shelf.is_dirty:
            self._sync_at = math.inf
        elif self._sync_at == math.inf:
            self._sync_at = now + SYNC_S
        elif now >= self._sync_at:
            self._sync_at = math.inf
            self.shelf.sync()

    def end(self) -> None:
        """The keeper ends: so does the runner with all that it has."""
        self.runner.close(0.0)
        self.runner.bury()
        self.shelf.close()

    # -- the client

    def is_outdated(self, archive: str, python: Optional[str]) -> bool:
        """Whether the keeper should make way for one of this archive and this Python."""
        mine = (os.path.basename(self._archive), sys.executable)
        return (
            os.path.basename(archive),
            python or sys.executable,
        ) != mine and not self.is_busy

    def set_up(self, client: Client, told: Dict[str, Any]) -> None:
        """Serve this client from now on. Raises WireError."""
        if told["protocol"] != PROTOCOL:
            raise wire.WireError(f"protocol {told['protocol']}, this keeper has {PROTOCOL}")
        interpreters = [str(each) for each in told.get("interpreters") or ()]
        if not self._pythons:
            self._pythons = pythons.by_version(pythons.find(interpreters))
        setup = greeting.setup_of(told, interpreters, self._pythons)
        self.linger_s = float(told.get("linger") or _LINGER_S)
        self.runner.want(setup)
        self.client = client
        self._greet(client, set(told.get("saved") or ()))

    def _greet(self, client: Client, home: "set[str]") -> None:
        """Tell all that a client must know that comes anew."""
        say = client.sending.say
        attempts = {
            "live": self._roster.attempts(),
            "active": sorted({*greeting.active(self._folder), *self._packs}),
            "outbox": self.shelf.attempts(),
            "died": sorted(each for each in self._died if each not in self.shelf),
            "checkpoints": greeting.orders(self._owners),
        }
        say(greeting.bounded({**greeting.hello(self._folder, self._pythons), **attempts}))
        running = self._roster.running()
        if running:
            say({"event": "started", "attempts": running})
        for key, owner in self._owners.items():
            saved = greeting.newest(owner)
            if saved is not None and f"{key}/{os.path.basename(saved.path)}" not in home:
                client.sending.add(saved)
        say({"event": "told"})
        if self.closed_at:
            say({"event": "draining", "why": _RECALLED})
        for entry in self.shelf:
            client.sending.add(entry)

    def lose(self, client: Client) -> None:
        """The client is gone: work goes on."""
        if self.client is client:
            self.client = None

    def _say(self, tree: Dict[str, Any]) -> None:
        if self.client is not None:
            self.client.sending.say(tree)

    # -- orders

    def obey(self, verb: str, told: Dict[str, Any]) -> None:
        """Do as the client says. Raises WireError, LookupError, TypeError or ValueError."""
        act = self._verbs.get(verb)
        if act is None:
            raise wire.WireError(f"unknown verb {verb!r}")
        act(told)

    def _launch(self, told: Dict[str, Any]) -> None:
        self._note_checkpoints()
        taken = self._roster.take(told, self.shelf, time.time())
        if taken.groups:
            self.runner.order({"do": "launch", "work": taken.groups})
        for name in taken.again:
            self._tell_entry(name)
        if taken.missing:
            self._keep(taken.missing)

    def _note_checkpoints(self) -> None:
        """Some may have been put here for what is launched now."""
        if self.client is not None:
            for key in self.client.sealed():
                task, _, replica = key.partition("/")
                place = self._folder.path("checkpoints")
                self._owners[key] = checkpoint.Owner(place, task, int(replica))

    def _stop(self, told: Dict[str, Any]) -> None:
        names = [str(each) for each in told["attempts"]]
        if not self.runner.is_there:
            self._has_stopped(names)
        else:
            self._stopping.update(names)
            wanted = bool(told.get("wanted", True))
            self.runner.order({"do": "stop", "attempts": names, "wanted": wanted})

    def _release(self, told: Dict[str, Any]) -> None:
        for name in told["attempts"]:
            if name in self._roster:
                continue
            entry = self.shelf.get(name)
            self._let_go(name)
            if entry is not None and entry.outcome != "lost" and self._owners:
                self._forget_checkpoints(name)
        self.shelf.release(told["attempts"])

    def _forget_checkpoints(self, attempt: str) -> None:
        task, replica, _ = attempt.split(".")
        key = f"{task}/{replica}"
        if key in self._owners and not self._roster.has_replica(key):
            tidy.remove_checkpoints(self._owners.pop(key))

    def _drop(self, told: Dict[str, Any]) -> None:
        needed = self._roster.needed()
        places = [f"inputs/{each}" for each in told.get("inputs") or ()]
        places += [f"values/{each}" for each in told.get("values") or ()]
        places += [str(each) for each in told.get("active") or ()]
        for name in places:
            place = hostfolder.place_of(name)
            if name not in needed and place.kind != "checkpoints":
                self._packs.remove(place.path)
        for key in told.get("checkpoints") or ():
            if key in self._owners and not self._roster.has_replica(key):
                tidy.remove_checkpoints(self._owners.pop(key))

        for key in told.get("damaged") or ():
            self._drop_damaged(str(key))

    def _drop_damaged(self, key: str) -> None:
        """A checkpoint came home damaged: the one before it takes its place."""
        of, _, name = key.rpartition("/")
        owner = self._owners.get(of)
        if owner is None or name not in greeting.names(owner):
            return
        tidy.remove_checkpoint(owner, name)
        saved = greeting.newest(owner)
        if saved is not None and self.client is not None:
            self.client.sending.add(saved)

    def _tail(self, told: Dict[str, Any]) -> None:
        if self.client is not None:
            slot = self._roster.slot_of(told["attempt"])
            self.client.sending.tail(told, slot)

    def _set_slots(self, told: Dict[str, Any]) -> None:
        self.runner.set_slots(int(told["slots"]))

    def vacate(self, grace_s: float) -> None:
        """The batch system ends this job: take nothing more, let what runs save and end."""
        self._say({"event": "draining", "why": _RECALLED})
        self._close({"grace_s": grace_s})

    def _close(self, told: Dict[str, Any]) -> None:
        grace_s = max(0.0, float(told["grace_s"]))
        self.closed_at = time.monotonic() + grace_s
        self.runner.close(grace_s)

    # -- what the runner says

    def _understand(self, payload: bytes) -> None:
        told = json.loads(payload)
        event = told["event"]
        if event == "ended":
            self._keep([each for each in told["attempts"] if self._is_awaited(each)])
        elif event == "stopped":
            self._has_stopped(told["attempts"])
        elif event == "checkpointed":
            for each in told["attempts"]:
                self._has_saved(each)
        elif event != "hello":
            self._pass_on(event, told, payload)

    def _pass_on(self, event: str, told: Dict[str, Any], payload: bytes) -> None:
        if event == "started":
            for each in told["attempts"]:
                self._roster.started(each)
        if self.client is not None:
            self.client.sending.forward(payload, spare=event in _SPARE)

    def _bury(self, manner: str) -> None:
        """The runner died: what was to be stopped has stopped, all else is lost."""
        self._has_stopped([each for each in self._roster.attempts() if each in self._stopping])
        self._stopping.clear()
        ran = charge.at_hand(self._folder.root)
        self._keep(self._roster.all_lost(ran, manner, time.time()))

    def _tell_change(self, up: bool, why: str) -> None:  # noqa: FBT001
        self._say({"event": "runner", "up": up, "why": why})

    def _is_awaited(self, report: Dict[str, Any]) -> bool:
        name: str = report["attempt"]
        if self._roster.ended(name):
            return True
        self.shelf.remove_staged(name)
        return False

    def _keep(self, reports: List[Dict[str, Any]]) -> None:
        for entry in self.shelf.keep(reports):
            if self.client is not None:
                self.client.sending.add(entry)

    def _tell_entry(self, name: str) -> None:
        entry = self.shelf.get(name)
        if entry is not None and self.client is not None:
            self.client.sending.add(entry)

    def _has_stopped(self, names: List[str]) -> None:
        """No process of these is left, and nobody wants their reports."""
        self._stopping.difference_update(names)
        for name in names:
            self._let_go(name)
            self.shelf.remove_staged(name)
        self.shelf.release(names)
        self._say({"event": "stopped", "attempts": names})

    def _let_go(self, name: str) -> None:
        place = self._roster.let_go(name)
        if place:
            self._packs.remove(place)

    def _has_saved(self, told: Dict[str, Any]) -> None:
        task, replica, _ = told["attempt"].split(".")
        owner = checkpoint.Owner(self._folder.path("checkpoints"), task, int(replica))
        self._owners[greeting.key_of(owner)] = owner
        busy = self.client.sending.busy_with if self.client is not None else ""
        tidy.prune(owner, busy)
        if self.client is not None:
            self.client.sending.add(Saved(told["attempt"], told, owner))
