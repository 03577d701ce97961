"""Plants each of twelve bugs in a copy of the tree and shows that a test turns red. `make planted`.

Needs no stack. The copy has a build folder of its own: cargo would take what is compiled of one tree
for the other's, bug and all. Names of bugs as arguments plant only those.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name: file, what is there, what takes its place, package, which of its tests are to find it
BUGS = {
    "UnprocessedItems dropped": (
        "functions/ingest/src/pipeline.rs",
        "Ok(unprocessed) if unprocessed.is_empty() => return Ok(Stored { sequences, bytes })",
        "Ok(_) if bytes < usize::MAX => return Ok(Stored { sequences, bytes })",
        ["logferry-tests"],
        "test(blocks_that_are_not_taken)",
    ),
    "no fence on complete": (
        "shared/aws/src/ledger.rs",
        "            .set_key(Some(file_key(&lease.object)))\n"
        '            .condition_expression("fence = :fence AND #status = :processing")\n'
        '            .expression_attribute_names("#status", "status")\n'
        '            .expression_attribute_values(":fence", n(lease.fence))\n'
        '            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))\n'
        '            .expression_attribute_values(":status"',
        "            .set_key(Some(file_key(&lease.object)))\n"
        '            .condition_expression("#status = :processing")\n'
        '            .expression_attribute_names("#status", "status")\n'
        '            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))\n'
        '            .expression_attribute_values(":status"',
        ["logferry-aws", "--features=dynamodb,s3"],
        "binary(requests)",
    ),
    "a clock in a stored item": (
        "functions/ingest/src/pipeline.rs",
        'format!("s3://{}/{}", job.object.bucket, job.object.key)',
        'format!("s3://{}/{}#{:?}", job.object.bucket, job.object.key, std::time::SystemTime::now())',
        ["logferry-tests"],
        "test(a_file_is_stored_whole)",
    ),
    "rejected info ignored": (
        "shared/batch-buffer/src/deliver.rs",
        "return Outcome::Accepted(accepted.rejected);",
        "return Outcome::Accepted(None);",
        ["batch-buffer"],
        "all()",
    ),
    "only the first gzip member read": (
        "shared/domain/src/decode.rs",
        "[0, ..] if members > 0 => self.codec = Codec::GzipPadding,",
        "[..] if members > 0 => self.codec = Codec::GzipPadding,",
        ["logferry-domain"],
        "test(members)",
    ),
    "no If-Match": (
        "shared/aws/src/objects.rs",
        'ObjectVersion::ETag(etag) => request.if_match(format!("\\"{etag}\\"")),',
        "ObjectVersion::ETag(_) => request,",
        ["logferry-aws", "--features=dynamodb,s3"],
        "binary(requests)",
    ),
    "ack before write": (
        "functions/ingest/src/pipeline.rs",
        "if !making && self.batch.is_empty() && requests.is_empty() {",
        "if !making && self.batch.is_empty() {",
        ["logferry-tests"],
        "test(a_file_is_stored_whole)",
    ),
    "key decoded twice": (
        "functions/ingest/src/events.rs",
        "    let spaced = encoded.replace('+', \" \");\n",
        "    let once = percent_decode_str(encoded).decode_utf8_lossy().into_owned();\n"
        "    let spaced = once.replace('+', \" \");\n",
        ["logferry-ingest"],
        "all()",
    ),
    "IPv6 link-local range too narrow": (
        "shared/health-checks/src/guard.rs",
        "[first, ..] if first & 0xffc0 == 0xfe80",
        "[first, ..] if first == 0xfe80",
        ["logferry-health-checks"],
        "all()",
    ),
    "secrets compared with ==": (
        "shared/service/src/api_key.rs",
        "self.secret_hash().ct_eq(&stored).into()",
        "self.secret_hash() == stored",
        ["logferry-tests"],
        "test(tidy)",
    ),
    "stats outside the transaction": (
        "shared/aws/src/ledger.rs",
        "actions.extend(self.day_actions(lease, app_id, change)?);",
        "let [row, counter] = self.day_actions(lease, app_id, change)?;\n"
        "                    actions.push(row);\n"
        "                    self.transact(&[counter]).await?;",
        ["logferry-aws", "--features=dynamodb,s3"],
        "binary(requests)",
    ),
    "an empty batch answer on error": (
        "functions/flush/src/lib.rs",
        "Handled { response: Response { batch_item_failures: failures }, tally }",
        "Handled { response: Response { batch_item_failures: Vec::new() }, tally }",
        ["logferry-flush"],
        "all()",
    ),
}

TEST_FAILED = 100  # nextest's exit code: everything was built, a test is red


def run_tests(tree: pathlib.Path, package: list[str], tests: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target" / "planted-build")}
    environment["PATH"] = f"{ROOT / '.logferry' / 'venv' / 'bin'}:{environment['PATH']}"
    environment.pop("LOGFERRY_LOCAL_ENV", None)
    command = ["cargo", "nextest", "run", "--cargo-quiet", "--no-fail-fast", "-p", *package, "-E", tests]
    return subprocess.run(command, cwd=tree, env=environment, text=True, capture_output=True)


def copy_tree(to: pathlib.Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, text=True, capture_output=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            # With a new time: what was compiled last may have been a bug.
            shutil.copyfile(ROOT / name, to / name)


def main() -> int:
    wanted = sys.argv[1:] or list(BUGS)
    missed = []
    # Always in the same place, so that the build folder does not fill up.
    tree = ROOT / "target" / "planted"
    shutil.rmtree(tree, ignore_errors=True)
    copy_tree(tree)
    for name in wanted:
        file, old, new, package, tests = BUGS[name]
        sound = (tree / file).read_text()
        if sound.count(old) != 1:
            print(f"{name}: {file} has changed, the bug no longer fits")
            missed.append(name)
            continue
        (tree / file).write_text(sound.replace(old, new))
        result = run_tests(tree, package, tests)
        (tree / file).write_text(sound)
        red = [line.split()[-1] for line in result.stderr.splitlines() if line.strip().startswith("FAIL")]
        if result.returncode == TEST_FAILED and red:
            print(f"{name}: found by {sorted(set(red))[0]} and {len(set(red)) - 1} more")
        else:
            print(f"{name}: NOT FOUND (exit {result.returncode})\n{result.stderr[-2000:]}")
            missed.append(name)
        sys.stdout.flush()
    print(f"{len(wanted) - len(missed)} of {len(wanted)} planted bugs were found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
