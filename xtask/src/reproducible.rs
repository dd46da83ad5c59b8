//! The release build that members vote on: the same bytes in whatever folder, and the check that it is so.
//!
//! A compiler writes paths into what it makes (for panics, for debuggers, `__FILE__` in C), and so would the folder of whoever builds.
//! Every such folder is given one name. What else could differ is fixed: the compiler's version, the locked dependencies, and that nothing is
//! reused from a build without these settings.
//!
//! Not fixed: the C compiler, its headers, and the linker. Who compares hashes needs the same ones, or the same container.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// What a release is built with.
const TOOLCHAIN: &str = "1.95.0";
const TARGET: &str = "x86_64-unknown-linux-gnu";
const BINARY: &str = "coco";
/// Where the sources, and the sources of dependencies, seem to lie.
const ROOT_NAME: &str = "/coco";
const CARGO_NAME: &str = "/cargo";
/// Below `target`, so that a build is never mixed with a developer's.
const FOLDER: &str = "target/reproducible";

/// Builds the executable and says its hash: `xtask release`. Of another package, what it makes, so that its dependencies are compiled once: `xtask release PACKAGE`.
pub fn release(root: &Path, package: Option<&str>) -> anyhow::Result<()> {
    let package = package.unwrap_or(BINARY);
    let built = build(root, &root.join(FOLDER).join("build"), package)?;
    if package != BINARY {
        return say(&built);
    }
    let bytes = fs::read(&built).with_context(|| built.display().to_string())?;
    check_names(&bytes, root, package)?;
    keep(root, &built)
}

/// Builds a package twice, here and from what is committed in a place whose path is longer, and compares: `xtask reproducible [PACKAGE]`.
/// The executable is kept where `release` keeps it.
pub fn check(root: &Path, package: Option<&str>) -> anyhow::Result<()> {
    let package = package.unwrap_or(BINARY);
    let here = build(root, &root.join(FOLDER).join("build"), package)?;
    let place = root.join(FOLDER).join("another-place-with-a-longer-name");
    check_out(root, &place)?;
    let there = build(&place, &place.join("target"), package)?;
    let [one, other] = [&here, &there].map(|path| fs::read(path).with_context(|| path.display().to_string()));
    let (one, other) = (one?, other?);
    if one != other {
        let at = one.iter().zip(&other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
        let (here, there) = (here.display(), there.display());
        bail!(
            "{package} was built twice and differs from byte {at} on, unless something is not committed: compare {here} and {there}"
        );
    }
    check_names(&one, root, package)?;
    println!("the same {} bytes twice", one.len());
    if package == BINARY {
        keep(root, &here)?;
    }
    fs::remove_dir_all(&place).with_context(|| place.display().to_string())
}

fn keep(root: &Path, built: &Path) -> anyhow::Result<()> {
    let kept = root.join(FOLDER).join(BINARY);
    fs::copy(built, &kept).with_context(|| kept.display().to_string())?;
    say(&kept)
}

fn say(file: &Path) -> anyhow::Result<()> {
    println!("{}", sha256(file)?);
    Ok(())
}

/// What is committed, and nothing else; where there is no repository, the folder without what builds leave in it.
fn check_out(root: &Path, place: &Path) -> anyhow::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| place.display().to_string())?;
    }
    fs::create_dir_all(place).with_context(|| place.display().to_string())?;
    let archive = place.join("sources.tar");
    if root.join(".git").exists() {
        let output = format!("--output={}", archive.display());
        run(Command::new("git").current_dir(root).args(["archive", "--format=tar", &output, "HEAD"]))?;
    } else {
        let left_out = ["--exclude=./target", "--exclude=node_modules", "--exclude=.venv"];
        run(Command::new("tar").current_dir(root).args(left_out).arg("-cf").arg(&archive).arg("."))?;
    }
    run(Command::new("tar").current_dir(place).arg("-xf").arg(&archive))?;
    fs::remove_file(&archive).with_context(|| archive.display().to_string())
}

/// Gives the path of what was made: the executable, or the library of a package that has none.
fn build(sources: &Path, target: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let sources = sources.canonicalize().with_context(|| sources.display().to_string())?;
    let cargo_home = cargo_home()?;
    let renamed = [(sources.as_path(), ROOT_NAME), (cargo_home.as_path(), CARGO_NAME)];
    let mut command = Command::new("cargo");
    command.current_dir(&sources).args(["build", "--release", "--locked", "--package", package]);
    command.args(["--target", TARGET, "--target-dir"]).arg(target);
    for name in ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_INCREMENTAL"] {
        command.env_remove(name);
    }
    command.env("RUSTUP_TOOLCHAIN", TOOLCHAIN).env("SOURCE_DATE_EPOCH", "1").env("LC_ALL", "C").env("TZ", "UTC");
    command.env("RUSTFLAGS", flags("--remap-path-prefix", &renamed));
    for name in ["CFLAGS", "CXXFLAGS"] {
        command.env(name, flags("-ffile-prefix-map", &renamed));
    }
    run(&mut command)?;
    let made = target.join(TARGET).join("release");
    let executable = made.join(package);
    let library = made.join(format!("lib{}.rlib", package.replace('-', "_")));
    Ok(if executable.exists() { executable } else { library })
}

fn flags(option: &str, renamed: &[(&Path, &str)]) -> OsString {
    let one = |(from, to): &(&Path, &str)| format!("{option}={}={to}", from.display());
    renamed.iter().map(one).collect::<Vec<_>>().join(" ").into()
}

fn cargo_home() -> anyhow::Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cargo"))
}

/// What names the folder in which it was built differs from what is built elsewhere.
fn check_names(bytes: &[u8], root: &Path, package: &str) -> anyhow::Result<()> {
    ensure!(!mentions(bytes, root), "{package} names the folder in which it was built: {}", root.display());
    Ok(())
}

fn mentions(bytes: &[u8], folder: &Path) -> bool {
    let name = folder.as_os_str().as_encoded_bytes();
    bytes.windows(name.len()).any(|window| window == name)
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let output = Command::new("sha256sum").arg(path).output().context("sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed");
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| program.clone())?;
    ensure!(status.success(), "{program} failed: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_gets_one_name_and_a_leaked_one_is_found() {
        let renamed = [(Path::new("/build/a"), ROOT_NAME), (Path::new("/build/a/.cargo"), CARGO_NAME)];
        let flags = flags("--remap-path-prefix", &renamed);
        assert_eq!(flags, "--remap-path-prefix=/build/a=/coco --remap-path-prefix=/build/a/.cargo=/cargo");
        assert!(mentions(b"panicked at /build/a/src/lib.rs", Path::new("/build/a")));
        assert!(!mentions(b"panicked at /coco/src/lib.rs", Path::new("/build/a")));
    }
}
