#!/usr/bin/env python3
"""What ctx0-schema adds to a daemon that has tokio and reqwest already.

    benches/footprint.py

builds a small daemon without and with the library, each in a temporary folder, with the default release profile and with
link-time optimization. It compares crates, time of a build from nothing, size of the stripped program, memory while it
idles, and processor time of a check beside that of a plain request. For the latter it starts the stand-in Supabase on
the machine's PostgreSQL. It prints a table, and writes benches/footprint.json and the paragraph of the README. It
needs psql, and Linux for /proc.
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
ROUNDS = 15
CHECKS = 500
PROFILES = {
    "release": "strip = true",
    "lto": 'strip = true\nlto = "fat"\ncodegen-units = 1',
}

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


def build(folder, name, profile):
    """Builds the daemon from nothing: its program, its crates and the seconds that took."""
    with_library = name == "with"
    project = folder / profile / name
    (project / "src").mkdir(parents=True)
    library = f'ctx0-schema = {{ path = "{ROOT}" }}\n' if with_library else ""
    (project / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
        f'[profile.release]\n{PROFILES[profile]}\n[dependencies]\n{library}{DEPENDENCIES}')
    start = "let _scheduler = ctx0_schema::Scheduler::builder(manager.clone()).start();" if with_library else ""
    main = MAIN.replace("PREPARE", WITH if with_library else WITHOUT).replace("START", start).replace("COUNT", str(CHECKS))
    (project / "src/main.rs").write_text(main)
    shutil.copy(ROOT / "Cargo.lock", project / "Cargo.lock")
    run("cargo", "fetch", "--quiet", cwd=project)
    tree = run("cargo", "tree", "--prefix", "none", "--edges", "normal,build", cwd=project)
    crates = {" ".join(line.split()[:2]) for line in tree.splitlines() if line} - {f"{name} v0.0.0"}
    began = time.monotonic()
    run("cargo", "build", "--release", "--quiet", "--target-dir", str(project / "target"), cwd=project)
    took = time.monotonic() - began
    return project / f"target/release/{name}", len(crates), took


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
    daemons = [(profile, name) for profile in PROFILES for name in ["without", "with"]]
    built = {(profile, name): build(folder, name, profile) for profile, name in daemons}
    run("cargo", "build", "--quiet", "--workspace", "--all-features", "--locked", "--bins", "--examples", cwd=ROOT)
    stack = subprocess.Popen(
        [ROOT / "target/debug/ctx0-stack", "--postgres"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with stack:
        told = dict(stack.stdout.readline().strip().split("=", 1) for _ in range(5))
        script = folder / "install.sql"
        run(ROOT / "target/debug/examples/install_sql", script)
        run("psql", "-X", "-q", "-1", "-d", told["DATABASE_URL"], "-f", script)
        os.sync()  # As where a program was installed a while ago.
        runs = {daemon: [] for daemon in daemons}
        for _ in range(ROUNDS):
            for daemon in daemons:
                runs[daemon].append(once(built[daemon][0], os.environ | told))
        stack.stdin.close()
    measured = {profile: {} for profile in PROFILES}
    for profile, name in daemons:
        program, crates, took = built[profile, name]
        measured[profile][name] = {
            "crates": crates,
            "build_s": round(took, 1),
            "program_mib": round(program.stat().st_size / 2**20, 2),
            "idle_kib": statistics.median(own for _, own in runs[profile, name]),
            "request_us": round(statistics.median(spent for spent, _ in runs[profile, name]) / 1000, 1),
        }
    return measured


def paragraph(measured):
    release, lto = ({what: of["with"][what] - of["without"][what] for what in of["with"]}
                    for of in (measured["release"], measured["lto"]))
    return (
        f'A daemon that has tokio and reqwest grows by {release["crates"]} crates and {release["build_s"]:.0f} s of a release '
        f'build. Built with link-time optimization, it\ngrows by {lto["program_mib"]:.1f} MiB of program and '
        f'{lto["idle_kib"] / 1024:.1f} MiB of memory; with the default profile by {release["program_mib"]:.1f} and '
        f'{release["idle_kib"] / 1024:.1f} MiB. A check\ntakes {release["request_us"]:.0f} µs more of processor time than a '
        f'bare request (`benches/footprint.py`).\n')


def main():
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(pathlib.Path(folder))
    for profile, of in measured.items():
        for what in of["with"]:
            print(f'{profile:<8} {what:<12} {of["without"][what]:>10} {of["with"][what]:>10}')
    figures, readme = ROOT / "benches/footprint.json", ROOT / "README.md"
    # A test holds the README to these figures.
    before = paragraph(json.loads(figures.read_text()))
    figures.write_text(json.dumps(measured, indent=2) + "\n")
    readme.write_text(readme.read_text().replace(before, paragraph(measured)))


if __name__ == "__main__":
    main()
