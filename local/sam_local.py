"""`make sam-local`: runs IngestFunction, ApiFunction and HealthFunction in containers with `sam local invoke`.

Needs a Docker engine, but pulls no image: the image of Lambda's runtime is built from this machine's C library
and the SAM CLI's runtime emulator. The containers reach the local stack through a relay on Docker's bridge."""

import asyncio
import io
import ipaddress
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import venv

import boto3

from stack import binaries, command, settings

SAM = "aws-sam-cli==1.170.0"
# The name of SAM's runtime image; because it exists, SAM neither builds nor pulls one.
IMAGE = "public.ecr.aws/lambda/provided:al2023-rapid-x86_64"
LIBRARIES = (
    "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1",
    "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2",
)  # fmt: skip
LIBRARY_FOLDER = pathlib.Path("/lib/x86_64-linux-gnu")
IMAGE_ENV = (
    "LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin "
    "LD_LIBRARY_PATH=/lib64:/lib/x86_64-linux-gnu:/var/runtime:/var/task:/opt/lib LANG=C.UTF-8 TZ=:UTC"
)


def output_of(*arguments: str) -> str | None:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def sam_cli() -> pathlib.Path:
    """Installs the SAM CLI into its own folder; with 340 MB it is not among the tools of `make`."""
    folder = settings.ROOT / ".logferry" / "sam"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != SAM:
        print(f"installing {SAM} into .logferry/sam (once)")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", SAM]
        subprocess.run(pip, check=True)
        stamp.write_text(SAM)
    return folder


def build_image(sam: pathlib.Path) -> None:
    """Builds an image of thirteen files: the C library, certificates, names, Lambda's runtime interface emulator."""
    emulator = next(sam.glob("lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"))
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as image:
        for folder in ("var/task", "var/runtime", "opt", "tmp", "dev", "proc", "usr/bin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            image.addfile(entry)

        def add(name: str, content: bytes, mode: int = 0o644) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            image.addfile(entry, io.BytesIO(content))

        add("lib64/ld-linux-x86-64.so.2", pathlib.Path("/lib64/ld-linux-x86-64.so.2").read_bytes(), 0o755)
        for library in LIBRARIES:
            add(f"lib/x86_64-linux-gnu/{library}", (LIBRARY_FOLDER / library).read_bytes(), 0o755)
        certificates = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.exists():
            add("etc/ssl/certs/ca-certificates.crt", certificates.read_bytes())
        add("etc/nsswitch.conf", b"hosts: files dns\n")
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n")
        add("var/rapid/aws-lambda-rie", emulator.read_bytes(), 0o755)
    changes = [f"ENV {IMAGE_ENV}", "WORKDIR /var/task", 'ENTRYPOINT ["/var/rapid/aws-lambda-rie"]']
    options = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["docker", "import", *options, "-", IMAGE], input=root.getvalue(), check=True, stdout=subprocess.DEVNULL
    )


def bridge_address() -> str:
    """Returns this machine's address on Docker's default bridge; older engines report only the network."""
    [network] = json.loads(output_of("docker", "network", "inspect", "bridge") or "[{}]")
    [config] = network["IPAM"]["Config"]
    return config.get("Gateway") or str(next(ipaddress.ip_network(config["Subnet"]).hosts()))


def start_relay(address: str, port: int) -> None:
    """Forwards connections from the bridge to the stack, which listens on 127.0.0.1 only."""

    async def pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connected(reader, writer):
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, onward_writer), pump(onward_reader, writer))

    async def serve(ready: threading.Event):
        server = await asyncio.start_server(connected, address, port)
        ready.set()
        await server.serve_forever()

    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(serve(ready)), daemon=True).start()
    if not ready.wait(5):
        raise settings.Problem(f"no relay on {address}:{port}")


def uploaded_event(env: dict[str, str], s3) -> dict:
    """Uploads an object and returns the sample S3 event for it."""
    register = urllib.request.Request(
        f"{env['API_URL']}/apps",
        data=json.dumps({"app_id": "demo", "name": "Demo"}).encode(),
        headers={"X-Admin-Key": env["ADMIN_KEY"], "Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(register).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # registered by an earlier run
            raise
    event = json.loads((settings.ROOT / "events" / "ingest" / "s3-put.json").read_text())
    [record] = event["Records"]
    body = (settings.ROOT / "tests" / "fixtures" / "pino" / "oddities.ndjson.gz").read_bytes()
    put = s3.put_object(Bucket=env["BUCKET"], Key=record["s3"]["object"]["key"], Body=body)
    record["s3"]["bucket"]["name"] = env["BUCKET"]
    record["s3"]["object"].update(size=len(body), eTag=put["ETag"].strip('"'), versionId=put["VersionId"])
    return event


def run() -> None:
    if output_of("docker", "info") is None:
        raise settings.Problem("no Docker engine answers; `make test` runs the same binaries without one")
    chosen = settings.from_environment()
    env = command.up(chosen)
    sam = sam_cli()
    build_image(sam)
    bridge = bridge_address()
    start_relay(bridge, chosen.port)

    work = chosen.state / "sam-local"
    work.mkdir(exist_ok=True)
    # SAM passes only variables that the template declares.
    template = (settings.ROOT / "template.yaml").read_text()
    template = template.replace("CodeUri: target/lambda/", f"CodeUri: {binaries.folder(chosen.profile)}/")
    template = template.replace("        LOG_LEVEL:", '        AWS_ENDPOINT_URL: ""\n        LOG_LEVEL:', 1)
    (work / "template.yaml").write_text(template)
    functions = boto3.client("lambda", **chosen.client_config)
    variables = {}
    for name in ("ingest", "api", "health"):
        deployed = functions.get_function_configuration(FunctionName=env[f"FN_{name.upper()}"])
        variables[f"{name.capitalize()}Function"] = {
            **deployed["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": f"http://{bridge}:{chosen.port}",
        }
    (work / "variables.json").write_text(json.dumps(variables))
    (work / "s3-put.json").write_text(json.dumps(uploaded_event(env, boto3.client("s3", **chosen.client_config))))

    events = settings.ROOT / "events"
    invoke(sam, work, "IngestFunction", work / "s3-put.json")
    invoke(sam, work, "ApiFunction", events / "api" / "get-health.json")
    invoke(sam, work, "HealthFunction", events / "health" / "scheduled.json")


def invoke(sam: pathlib.Path, work: pathlib.Path, function: str, event: pathlib.Path) -> None:
    print(f"\n== {function} with {event.name}", flush=True)
    environment = {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        "AWS_ACCESS_KEY_ID": settings.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": settings.SECRET_KEY,
        "AWS_DEFAULT_REGION": settings.REGION,
    }
    begun = time.monotonic()
    done = subprocess.run(
        [sam / "bin" / "sam", "local", "invoke", function, "--template", work / "template.yaml", "--event", event,
         "--env-vars", work / "variables.json", "--skip-pull-image"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    answer = done.stdout.strip()
    print(answer)
    if done.returncode or '"errorMessage"' in answer or '"errorType"' in answer:
        raise settings.Problem(f"{function} failed")
    print(f"({time.monotonic() - begun:.1f} s)")


def main() -> int:
    try:
        run()
    except settings.Problem as problem:
        print(f"sam-local: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
