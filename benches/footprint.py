#!/usr/bin/env python3
"""What ctx0-schema adds to a daemon that has tokio and reqwest already.

    benches/footprint.py

builds a small daemon without and with the library, each in a temporary folder, and compares: crates, time of a
release build from nothing, size of the stripped program, memory while it idles, and processor time of a check beside
that of a plain request. It starts the stand-in Supabase on the machine's PostgreSQL for the latter, prints a table, and writes
benches/footprint.json and the sentence of the README. It needs psql, and Linux for /proc.
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROUNDS = 5
CHECKS = 500

DEPENDENCIES = """
reqwest = { version = "0.13", default-features = false, features = ["rustls", "http2"] }
tokio = { version = "1", features = ["io-std", "io-util", "macros", "rt", "time"] }
"""

WITHOUT = """
    let client = reqwest::Client::new();
    let read = async || {
        let url = format!("{}/rest/v1/ctx0_schema_versions?select=version&order=version", url);
        let request = client.get(url).header("apikey", &key).bearer_auth(&key);
        request.send().await.unwrap().bytes().await.unwrap();
    };
"""

WITH = """
    let config = ctx0_schema::Config::new(url, key).unwrap();
    let manager = ctx0_schema::SchemaVersionManager::new(&config, ctx0_schema::Migrations::bundled().unwrap()).unwrap();
    let read = async || {
        manager.check_for_updates().await.unwrap();
    };
"""

MAIN = """
use tokio::io::AsyncReadExt;

/// What the one thread of this program has spent, in nanoseconds.
fn spent() -> u64 {
    let times = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::var("SUPABASE_URL").unwrap();
    let key = std::env::var("SUPABASE_SERVICE_ROLE_KEY").unwrap();
    PREPARE
    read().await;
    let began = spent();
    for _ in 0..COUNT {
        read().await;
    }
    println!("{}", (spent() - began) / COUNT);
    START
    let _ = tokio::io::stdin().read(&mut [0]).await;
}
"""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def build(folder, name, with_library):
    """Builds the daemon from nothing: its program, its crates and the seconds that took."""
    project = folder / name
    (project / "src").mkdir(parents=True)
    library = f'ctx0-schema = {{ path = "{ROOT}" }}\n' if with_library else ""
    (project / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
        f'[profile.release]\nstrip = true\n[dependencies]\n{library}{DEPENDENCIES}')
    start = "let _scheduler = ctx0_schema::Scheduler::builder(manager.clone()).start();" if with_library else ""
    main = MAIN.replace("PREPARE", WITH if with_library else WITHOUT).replace("START", start).replace("COUNT", str(CHECKS))
    (project / "src/main.rs").write_text(main)
    shutil.copy(ROOT / "Cargo.lock", project / "Cargo.lock")
    run("cargo", "fetch", "--quiet", cwd=project)
    tree = run("cargo", "tree", "--prefix", "none", "--edges", "normal,build", cwd=project)
    crates = {" ".join(line.split()[:2]) for line in tree.splitlines() if line} - {f"{name} v0.0.0"}
    began = time.monotonic()
    run("cargo", "build", "--release", "--quiet", "--target-dir", str(folder / f"{name}-target"), cwd=project)
    took = time.monotonic() - began
    return folder / f"{name}-target/release/{name}", len(crates), took


def once(program, environment):
    """Nanoseconds of processor time for a request, and KiB of memory that are its own while it idles."""
    with subprocess.Popen([program], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        spent = int(process.stdout.readline())
        time.sleep(1)
        status = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        own = sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+)", status, re.M))
        process.stdin.close()
    return spent, own


def measure(folder):
    built = {name: build(folder, name, name == "with") for name in ["without", "with"]}
    run("cargo", "build", "--quiet", "--workspace", "--all-features", "--locked", "--bins", "--examples", cwd=ROOT)
    stack = subprocess.Popen(
        [ROOT / "target/debug/ctx0-stack", "--postgres"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with stack:
        told = dict(stack.stdout.readline().strip().split("=", 1) for _ in range(5))
        script = folder / "install.sql"
        run(ROOT / "target/debug/examples/install_sql", script)
        run("psql", "-X", "-q", "-1", "-d", told["DATABASE_URL"], "-f", script)
        runs = {name: [] for name in built}
        for _ in range(ROUNDS):
            for name, (program, _, _) in built.items():
                runs[name].append(once(program, os.environ | told))
        stack.stdin.close()
    return {
        name: {
            "crates": crates,
            "build_s": round(took, 1),
            "program_mib": round(program.stat().st_size / 2**20, 2),
            "idle_kib": statistics.median(own for _, own in runs[name]),
            "request_us": round(statistics.median(spent for spent, _ in runs[name]) / 1000, 1),
        }
        for name, (program, crates, took) in built.items()
    }


def sentence(measured):
    more = {what: measured["with"][what] - measured["without"][what] for what in measured["with"]}
    return (
        f'A daemon that has tokio and reqwest grows by {more["crates"]} crates, {more["build_s"]:.0f} s of a release build, '
        f'{more["program_mib"]:.1f} MiB of program and {more["idle_kib"] / 1024:.1f} MiB of memory.\nA check takes '
        f'{more["request_us"]:.0f} µs more of processor time than a bare request (`benches/footprint.py`).\n')


def main():
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(pathlib.Path(folder))
    for what in measured["with"]:
        print(f'{what:<12} {measured["without"][what]:>10} {measured["with"][what]:>10}')
    figures, readme = ROOT / "benches/footprint.json", ROOT / "README.md"
    # A test holds the README to these figures.
    before = sentence(json.loads(figures.read_text()))
    figures.write_text(json.dumps(measured, indent=2) + "\n")
    readme.write_text(readme.read_text().replace(before, sentence(measured)))


if __name__ == "__main__":
    main()
