"""`make sam-local`: the commands of the SAM CLI on the local stack: `sam build`, `sam deploy` of a second stack, `sam
local invoke` of every event in events/, and a conversation with `sam local start-api`.

Needs a Docker engine, but pulls no image: the image of Lambda's runtime is built from this machine's C library
and the SAM CLI's runtime emulator. The containers reach the local stack through a relay on Docker's bridge."""

import contextlib
import gzip
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import boto3

import client
import sam_image
from doctor import output_of
from stack import binaries, command, deploy, settings, smoke

# The stack that `sam deploy` makes beside that of `make up`.
STACK = "logferry-sam"
APP = "demo"
START_SECS = 120
SAMPLE = settings.ROOT / "tests" / "fixtures" / "pino" / "oddities.ndjson.gz"


class Sam:
    """The SAM CLI, with a template of the local build and the environment of the deployed functions."""

    def __init__(self, chosen: settings.Settings, env: dict[str, str]):
        self.chosen, self.env = chosen, env
        self.program = sam_image.sam_cli() / "bin" / "sam"
        self.work = chosen.state / "sam-local"
        self.work.mkdir(exist_ok=True)
        self.environment = {
            **os.environ,
            "SAM_CLI_TELEMETRY": "0",
            "AWS_ENDPOINT_URL": chosen.endpoint,
            "AWS_ACCESS_KEY_ID": settings.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": settings.SECRET_KEY,
            "AWS_DEFAULT_REGION": settings.REGION,
        }

    def write(self, endpoint: str) -> None:
        """Writes the template and the variables, with the endpoint that containers reach the stack at."""
        source = (settings.ROOT / "template.yaml").read_text()
        source = source.replace("CodeUri: target/lambda/", f"CodeUri: {binaries.folder(self.chosen.profile)}/")
        (self.work / "template.yaml").write_text(source)
        for name in ("LICENSE-APACHE", "README.md"):  # named by the template's metadata
            shutil.copy(settings.ROOT / name, self.work)
        # SAM passes only variables that the template declares.
        declared = source.replace("        LOG_LEVEL:", '        AWS_ENDPOINT_URL: ""\n        LOG_LEVEL:', 1)
        (self.work / "local.yaml").write_text(declared)
        functions = boto3.client("lambda", **self.chosen.client_config)
        variables = {}
        for name in settings.FUNCTIONS:
            deployed = functions.get_function_configuration(FunctionName=self.env[f"FN_{name.upper()}"])
            variables[f"{name.capitalize()}Function"] = {
                **deployed["Environment"]["Variables"],
                "AWS_ENDPOINT_URL": endpoint,
            }
        # The log groups of the sample of a subscription filter.
        variables["IngestFunction"]["LOG_GROUP_APPS"] = f"/aws/lambda/*={APP}"
        (self.work / "variables.json").write_text(json.dumps(variables))

    def run(self, *arguments) -> str:
        """Runs a command of SAM and returns what it prints; its progress is shown."""
        print(f"\n== sam {' '.join(str(argument) for argument in arguments[:3])}", flush=True)
        begun = time.monotonic()
        done = subprocess.run(
            [self.program, *arguments], env=self.environment, cwd=self.work, capture_output=True, text=True
        )
        if done.returncode:
            raise settings.Problem(f"sam {arguments[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        print(f"({time.monotonic() - begun:.1f} s)", flush=True)
        return done.stdout.strip()

    def local_options(self) -> list:
        return ["--template", self.work / "local.yaml", "--env-vars", self.work / "variables.json", "--skip-pull-image"]


def build_and_deploy(sam: Sam) -> None:
    """Builds and deploys a stack as docs/operations.md says, calls its functions, and deletes it."""
    sam.run("build", "--template", sam.work / "template.yaml", "--build-dir", sam.work / "build")
    parameters = [f"{name}={value}" for name, value in deploy.LOCAL_PARAMETERS.items()]
    sam.run(
        "deploy", "--template", sam.work / "build" / "template.yaml", "--stack-name", STACK, "--resolve-s3",
        "--capabilities", "CAPABILITY_IAM", "--no-progressbar", "--parameter-overrides", *parameters,
    )  # fmt: skip
    cloudformation = boto3.client("cloudformation", **sam.chosen.client_config)
    outputs = deploy.outputs(deploy.describe(cloudformation, STACK))
    url = f"{sam.chosen.endpoint}/_aws/execute-api/{outputs['HttpApiId']}"
    try:
        smoke.run(boto3.client("lambda", **sam.chosen.client_config), outputs, url)
    finally:
        remove(sam, outputs)


def remove(sam: Sam, outputs: dict[str, str]) -> None:
    """Deletes the stack and what it retains, so that the next run can create it."""
    sam.run("delete", "--stack-name", STACK, "--no-prompts")
    tables, s3 = (boto3.client(service, **sam.chosen.client_config) for service in ("dynamodb", "s3"))
    for name in settings.TABLES:
        tables.delete_table(TableName=outputs[f"{name.capitalize()}TableName"])
    for name in ("LogBucketName", "FailureBucketName"):
        s3.delete_bucket(Bucket=outputs[name])


def put_unnoticed(sam: Sam) -> dict:
    """Puts an object without an event of the emulator, and returns the sample S3 event for it."""
    s3, bucket = boto3.client("s3", **sam.chosen.client_config), sam.env["BUCKET"]
    event = json.loads((settings.ROOT / "events" / "ingest" / "s3-put.json").read_text())
    [record] = event["Records"]
    notified = s3.get_bucket_notification_configuration(Bucket=bucket)
    notified.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        put = s3.put_object(Bucket=bucket, Key=record["s3"]["object"]["key"], Body=SAMPLE.read_bytes())
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notified)
    record["s3"]["bucket"]["name"] = bucket
    size, etag = SAMPLE.stat().st_size, put["ETag"].strip('"')
    record["s3"]["object"].update(size=size, eTag=etag, versionId=put["VersionId"])
    return event


def invoke_all(sam: Sam) -> None:
    """Invokes every function with each of its sample events."""
    own = sam.work / "s3-put.json"
    own.write_text(json.dumps(put_unnoticed(sam)))
    events = sorted((settings.ROOT / "events").glob("*/*.json"))
    for event in events:
        function = f"{event.parent.name.capitalize()}Function"
        given = own if event.name == "s3-put.json" else event
        answer = sam.run("local", "invoke", function, "--event", given, *sam.local_options())
        print(answer[:200])
        problem = wrong(event, answer)
        if problem:
            raise settings.Problem(f"{function} with {event.name}: {problem}")
    print(f"\n{len(events)} events answered")


def wrong(event: pathlib.Path, answer: str) -> str | None:
    """What is wrong with an answer: an error of the function, or a server error; of the object, another end."""
    if '"errorMessage"' in answer or '"errorType"' in answer:
        return answer
    if event.parent.name in ("api", "presign") and json.loads(answer)["statusCode"] >= 500:
        return answer
    if event.parent.name == "rpc" and not json.loads(answer or "{}").get("ok"):
        return answer or "no answer"
    if event.name == "s3-put.json" and "COMPLETED" not in answer:
        return f"the object was not ingested: {answer}"
    return None


@contextlib.contextmanager
def start_api(sam: Sam):
    """Runs `sam local start-api`; gives its URL."""
    port = settings.free_port()
    print("\n== sam local start-api", flush=True)
    with open(sam.work / "start-api.log", "w") as log:
        process = subprocess.Popen(
            [sam.program, "local", "start-api", "--port", str(port), "--warm-containers", "LAZY", *sam.local_options()],
            env=sam.environment, cwd=sam.work, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise settings.Problem(f"sam local start-api did not start; see {sam.work / 'start-api.log'}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def converse(env: dict[str, str]) -> None:
    """Registers an app, writes and finds a record, uploads and finds a file, deletes the app."""
    logferry = client.Logferry(env)
    app = f"sam-{time.time_ns():x}"
    client.expect(logferry.call("GET", "/health")["data"] == {"status": "ok"}, "GET /health should answer ok")
    logferry.api_key = logferry.admin("POST", "/apps", {"app_id": app, "name": "SAM"})["api_key"]
    logferry.app("POST", "/logs", {"level": "INFO", "message": "through start-api"})
    found = logferry.query(search="through start-api")
    client.expect([one["message"] for one in found] == ["through start-api"], "the record should be found")
    client.done("POST /apps, POST /logs, GET /logs")
    given = logferry.app("POST", "/presigned-url", {"filename": "app.log.gz"})
    given = given.get("data", given)
    line = json.dumps({"level": "info", "time": int(time.time() * 1000), "msg": "from a file"}).encode()
    client.http("PUT", given["presignedUrl"], {"Content-Type": "application/gzip"}, gzip.compress(line))
    row = client.eventually(lambda: client.ledger_row(logferry, given["key"]), f"{given['key']} should be read")
    client.expect(row["status"] == "COMPLETED", f"the file should be COMPLETED, not {row}")
    client.expect(len(logferry.query(search="from a file")) == 1, "the record of the file should be found")
    client.done("POST /presigned-url, PUT, GET /files, GET /logs")
    client.expect(logferry.admin("DELETE", f"/apps/{app}")["deleted"], "the app should be deleted")
    client.done("DELETE /apps/{id}")


def registered(env: dict[str, str]) -> None:
    """Registers the app of the sample events."""
    logferry = client.Logferry(env)
    if APP not in logferry.admin("GET", "/apps"):
        logferry.admin("POST", "/apps", {"app_id": APP, "name": "Demo"})


def run() -> None:
    if not output_of("docker", "info"):
        raise settings.Problem("no Docker engine answers; `make test` runs the same binaries without one")
    chosen = settings.from_environment()
    env = command.up(chosen)
    sam = Sam(chosen, env)
    sam_image.build_image(sam_image.sam_cli())
    bridge = sam_image.bridge_address()
    sam_image.start_relay(bridge, chosen.port)
    sam.write(f"http://{bridge}:{chosen.port}")
    registered(env)
    build_and_deploy(sam)
    invoke_all(sam)
    with start_api(sam) as url:
        converse({**env, "API_URL": url})


def main() -> int:
    try:
        run()
    except (client.Missing, settings.Problem) as problem:
        print(f"sam-local: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
