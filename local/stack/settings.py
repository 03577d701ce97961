"""Settings from the environment, and names derived from them."""

import dataclasses
import os
import pathlib
import shlex
import socket
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTIONS = ("presign", "ingest", "flush", "api", "rpc", "health", "sweep")
TABLES = ("apps", "logs", "files", "stats", "checks", "uploads")
# The emulator's root user; the functions get the credentials of their roles.
ACCESS_KEY, SECRET_KEY = "test", "test"
REGION = "us-east-1"
STACK_NAME = "logferry"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Problem(Exception):
    """An error that the user can act on; printed without a traceback."""


@dataclasses.dataclass(frozen=True)
class Settings:
    port: int
    state: pathlib.Path
    profile: str
    # Values for the template's parameters, in addition to those that a local stack always sets.
    parameters: dict[str, str]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def local_env(self) -> pathlib.Path:
        return self.state / "local.env"

    @property
    def emulator_dir(self) -> pathlib.Path:
        return self.state / "emulator"

    @property
    def unprocessed_file(self) -> pathlib.Path:
        """While it contains a number n, every n-th BatchWriteItem returns its last item as unprocessed."""
        return self.emulator_dir / "unprocessed-every"

    @property
    def client_config(self) -> dict[str, str]:
        return {
            "endpoint_url": self.endpoint,
            "region_name": REGION,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
        }


def from_environment(environment=os.environ) -> Settings:
    """Reads LOGFERRY_PORT, LOGFERRY_STATE (a folder), PROFILE (dev or release), PARAMETERS ("Name=value …", quoted
    as in a shell: "RedactPatterns='one two'")."""
    port = environment.get("LOGFERRY_PORT") or "4566"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise Problem(f"LOGFERRY_PORT must be a port number, not {port!r}")
    profile = environment.get("PROFILE") or "dev"
    if profile not in ("dev", "release"):
        raise Problem(f"PROFILE must be dev or release, not {profile!r}")
    parameters = {}
    try:
        given = shlex.split(environment.get("PARAMETERS") or "")
    except ValueError as error:
        raise Problem(f"PARAMETERS: {error}") from error
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Problem(f"PARAMETERS must be Name=value pairs, not {pair!r}")
        parameters[name] = value
    state = ROOT / (environment.get("LOGFERRY_STATE") or ".logferry")
    return Settings(int(port), state.resolve(), profile, parameters)


def local_env_path(environment=os.environ) -> pathlib.Path:
    """Returns the local.env of a running stack: LOGFERRY_LOCAL_ENV, by default that of `make up`. Exits if there is
    none."""
    path = pathlib.Path(environment.get("LOGFERRY_LOCAL_ENV") or from_environment(environment).local_env).resolve()
    if not path.exists():
        sys.exit(f"no local stack: {path} does not exist; run `make up`")
    return path


def local_env(environment=os.environ) -> dict[str, str]:
    """Returns the variables of a running stack."""
    lines = local_env_path(environment).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)
