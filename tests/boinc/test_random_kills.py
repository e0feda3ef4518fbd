"""kill -9 of the daemon and of what serves the clients, at random, while many hosts work."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

from tests.boinc.test_kills import large, nothing
from tests.support.boincsite import Crowd, Site
from tests.support.waiting import wait_until

TASKS, HOSTS, KILLS = 60, 6, 12


def test_nothing_is_lost_or_doubled_when_all_is_killed_at_random(
    tmp_path: Path, crowd: Crowd
) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    with Site(tmp_path) as site:
        hosts = [site.host() for _ in range(HOSTS)]
        for each in hosts:
            each.making = large if chance.random() < 0.3 else each.making
            crowd.live(each, pause_s=0.1)
        spool = site.spool.options(quorum=2, limit=8, max_errors=4, validator="exact")
        tasks = [spool.options(name=f"task{n}").submit(nothing) for n in range(TASKS)]
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.1, 1.2))  # the moment itself is what varies
            kill(site, chance.choice(("link", "daemon", "all")))
        wait_until(
            lambda: all(each.done() for each in tasks), timeout_s=180, last=site.daemon.log_text
        )
        values = [task.result().strip() for task in tasks]
        assert values == [f"task{n}" for n in range(TASKS)]
        made = Counter(name for each in hosts for name in each.ran)
        assert {name: n for name, n in made.items() if n > 1} == {}
        wait_until(lambda: not any(each.state.done for each in hosts))


def kill(site: Site, victim: str) -> None:
    if victim == "link":
        site.kill_link()
    elif victim == "daemon":
        site.daemon.kill()
        site.daemon.start()
    else:
        site.kill_all()
