"""`python -m stack {up,down,console,build,package,deploy,doctor,test}`, called by the Makefile."""

import os
import signal
import sys

import botocore.exceptions

from . import adopt, aws, binaries, console, deploy, doctor, emulator, package, settings, smoke, tests
from .bring_up import bring_up


def up(chosen: settings.Settings) -> dict[str, str]:
    values, seconds = bring_up(chosen)
    print(f"\nLogferry is up ({chosen.profile} binaries, {seconds:.0f} s without compilation)")
    rows = {
        "console": f"{values['API_URL']}/console/" + ("" if console.built() else " (not built: `make console`)"),
        "API": values["API_URL"],
        "admin key": f"ADMIN_KEY in {chosen.local_env}",
        "AWS endpoint": values["AWS_ENDPOINT_URL"],
        "bucket": values["BUCKET"],
        "everything": f"set -a; . {chosen.local_env}; set +a",
        "emulator log": chosen.emulator_dir / "log",
        "stop it": "make down",
    }
    for name, value in rows.items():
        print(f"  {name:<13} {value}")
    return values


def down(chosen: settings.Settings) -> None:
    print("stopped" if emulator.stop(chosen) else "nothing was running")


def build_console(_: settings.Settings) -> None:
    console.build()


def build(_: settings.Settings) -> None:
    folder = binaries.build("release", os.environ.get("ARCHITECTURE", "x86_64"))
    for name in settings.FUNCTIONS:
        bootstrap = folder / name / "bootstrap"
        print(f"  {name:<8} {bootstrap.stat().st_size / 1e6:6.2f} MB  {bootstrap.relative_to(settings.ROOT)}")


def package_release(_: settings.Settings) -> None:
    architecture = os.environ.get("ARCHITECTURE") or "x86_64"
    for path in package.package(binaries.build("release", architecture), architecture):
        print(f"  {path.stat().st_size / 1e6:6.2f} MB  {path.relative_to(settings.ROOT)}")


def deploy_to_aws(chosen: settings.Settings) -> None:
    """Checks the account, the names and the parameters, compiles, deploys, and tests every function."""
    wanted = aws.pairs("ADOPT", os.environ.get("ADOPT")) or {}
    target = aws.target(chosen, adopts=bool(wanted))
    folder = binaries.build("release", deploy.architecture(target))
    if wanted:
        target = adopt.adopt(target, wanted)
    outputs = deploy.deploy(target, folder)
    for name, value in outputs.items():
        print(f"  {name:<22} {value}")
    smoke.run(target.client("lambda", config=smoke.PATIENT), outputs, outputs["ApiUrl"])
    note = aws.subscriptions_note(target.client("sns"), outputs["AlertsTopicArn"])
    print(aws.next_steps(outputs, target.region), *([note] if note else []), sep="\n")


def examine(_: settings.Settings) -> None:
    """Prints what the deployment lacks."""
    print("the deployment")
    found = doctor.diagnose()
    print(*found, sep="\n")
    if any(one.verdict == "missing" for one in found):
        raise settings.Problem("see the lines with `missing`")


def main(arguments: list[str]) -> int:
    commands = {
        "up": up, "down": down, "console": build_console, "build": build, "package": package_release,
        "deploy": deploy_to_aws, "doctor": examine, "test": tests.run,
    }  # fmt: skip
    if len(arguments) != 1 or arguments[0] not in commands:
        print(f"usage: python -m stack {'|'.join(commands)}", file=sys.stderr)
        return 2
    # On SIGTERM too, stop what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        commands[arguments[0]](settings.from_environment())
    except (settings.Problem, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as problem:
        print(f"logferry: {problem}", file=sys.stderr)
        return 1
    return 0
