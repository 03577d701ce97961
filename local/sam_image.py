"""What `sam local` needs: the SAM CLI, an image of Lambda's runtime, and a relay from Docker's bridge to the local
stack."""

import asyncio
import io
import ipaddress
import json
import pathlib
import shutil
import subprocess
import tarfile
import threading
import venv

from doctor import output_of
from stack import settings

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
    """Builds an image of few files: the C library, certificates, names, Lambda's runtime interface emulator."""
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
