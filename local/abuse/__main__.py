"""`make abuse`: runs a hostile tenant (`attacks`) while an honest one works (`victim`).

Runs against the stack of `make up`. SIZE (4) is how large the attacks are, SECONDS (30) how long each goes on.
Every outcome of the victim must be right and no alarm of the service may be raised; with RATIO (2; 0 only prints)
the medians of its query time and flush delay under each attack must be at most RATIO times those without.
The emulator is one process that answers one request at a time, which DynamoDB and S3 are not: a query that is slow
only because the emulator is busy is recognised by how many small reads the emulator answers while the query runs
("reads"), which must then stay within RATIO. An attack by sheer shape is compared with an honest tenant's load of as
many bytes. Names of attacks as arguments run only those."""

import os
import sys
import time
import uuid

from client import done, say, step
from stack import settings

from .alarms import false_alarms
from .attacks import ATTACKS, Attack, run_health, run_sweep, slots
from .victim import Figures, Victim
from .web import Pages, Tenant

SIZE = int(os.environ.get("SIZE") or 4)
SECONDS = float(os.environ.get("SECONDS") or 30)
RATIO = float(os.environ.get("RATIO") or 2)
# The emulator and all functions share this machine's cores, unlike functions on AWS. A time may be this much longer
# (seconds) before it counts as slow.
SHARED_CORES_SECS = {"query": 0.15, "flush": 2.0}


def run(env: dict[str, str], chosen: list[str]) -> list[str]:
    since_ms, name = int(time.time() * 1000), uuid.uuid4().hex[:6]
    pages, problems = Pages(), []
    victim = Victim(env, f"victim-{name}", pages)
    health = slots()
    victim.live(5)
    step("The victim alone")
    quiet = victim.live(SECONDS)
    run_health(env, next(health))
    done(f"query {quiet.query() * 1000:.0f} ms, {quiet.flush():.1f} s until a record is in CloudWatch Logs")
    say(f"\n  {'attack':<78}{'rounds':>7}{'query':>9}{'reads':>8}{'flush':>8}")
    for number, kind in enumerate(ATTACKS):
        if chosen and kind.__name__ not in chosen:
            continue

        def under(kind: type[Attack], without: Figures, number: int = number) -> tuple[Attack, Figures]:
            tenant = Tenant(env, f"{kind.__name__.lower()}-{name}-{number}")
            attack = kind(env, tenant, pages, SIZE)
            figures = attack.during(lambda: victim.live(SECONDS))
            say(f"  {attack.name:<78}{attack.rounds:>7}{'x'.join(_ratios(figures, without))}x")
            return attack, figures

        without = under(kind.control, quiet)[1] if kind.control else quiet
        attack, figures = under(kind, without)
        query, reads, flush = (float(ratio) for ratio in _ratios(figures, without))
        problems += [f"{attack.name}: {problem}" for problem in attack.problems()]
        errors = attack.tenant.statuses.server_errors()
        problems += [f"{attack.name}: the attacker got server errors: {errors}"] if errors else []
        if RATIO:
            slow = figures.query() > RATIO * without.query() + SHARED_CORES_SECS["query"] and reads > RATIO
            late = figures.flush() > RATIO * without.flush() + SHARED_CORES_SECS["flush"]
            problems += [f"{attack.name}: the victim's queries take {query:.2f} times as long"] if slow else []
            problems += [f"{attack.name}: the victim's records take {flush:.2f} times as long"] if late else []
    run_health(env, next(health))
    run_sweep(env)
    run_sweep(env)
    victim.check_everything(rows_of_checks=2 * 3)
    problems += [f"the victim: {problem}" for problem in victim.problems]
    problems += [f"false alarm: {alarm}" for alarm in false_alarms(env, since_ms)]
    return problems


def _ratios(figures: Figures, without: Figures) -> tuple[str, str, str]:
    """Query, query in reads of the emulator, and flush: how many times as long as without the attack."""
    query, flush = figures.query() / without.query(), figures.flush() / without.flush()
    return f"{query:9.2f}", f"{figures.query_in_reads() / without.query_in_reads():7.2f}", f"{flush:7.2f}"


def main() -> int:
    problems = run(settings.local_env(), sys.argv[1:])
    for problem in problems:
        say(f"  ✗ {problem}")
    if not problems:
        done("every outcome of the victim is right, and no alarm was raised")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
