//! Debian packages, downloaded with what they depend on and unpacked without being installed.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What packages depend on for their installation scripts, not for running.
const NOT_NEEDED: &[&str] = &[
    "adduser",
    "debconf",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "iproute2",
    "lsb-base",
    "passwd",
    "perl",
    "perl-base",
    "procps",
    "sysvinit-utils",
    "systemd",
    "tar",
    "ucf",
];

/// Downloads `packages` and their dependencies into `work`, and unpacks them under `root`.
pub(super) fn unpack(packages: &[&str], work: &Path, root: &Path) -> Result<(), Box<dyn Error>> {
    if packages.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(root)?;
    let downloads = work.join("packages");
    fs::create_dir_all(&downloads)?;
    let all = closure(packages)?;
    // _apt may not write into a private temporary directory: download as root.
    output(
        Command::new("apt-get")
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
            .args(&all)
            .current_dir(&downloads),
    )?;
    for entry in fs::read_dir(&downloads)? {
        let archive = entry?.path();
        // Through tar, because the links of a merged /usr must stay links.
        let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink --no-same-owner -C \"$2\" \
                      --exclude ./usr/share/doc --exclude ./usr/share/man --exclude ./usr/share/locale";
        output(Command::new("sh").args(["-ec", script, "sh"]).arg(&archive).arg(root))?;
        fs::remove_file(&archive)?;
    }
    Ok(())
}

/// The packages and everything that they need to run, by name.
fn closure(packages: &[&str]) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut found = BTreeSet::new();
    let mut queue: VecDeque<String> = packages.iter().map(|name| name.to_string()).collect();
    while let Some(name) = queue.pop_front() {
        if NOT_NEEDED.contains(&name.as_str()) || !found.insert(name.clone()) {
            continue;
        }
        let text = output(Command::new("apt-cache").args([
            "depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            "--no-enhances",
            "--no-pre-depends",
            &name,
        ]))?;
        queue.extend(dependencies(&text));
    }
    Ok(found)
}

/// The first choice of each dependency in what `apt-cache depends` prints.
fn dependencies(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut alternative = false;
    for line in text.lines().map(str::trim) {
        let chosen = line.strip_prefix("Depends: ");
        let offered = line.strip_prefix("|Depends: ");
        let name = offered.or(chosen);
        if let Some(name) = name
            && !alternative
            && !name.starts_with('<')
        {
            found.push(name.to_string());
        }
        if name.is_some() {
            alternative = offered.is_some();
        }
    }
    found
}

/// Runs a command and returns what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_alternative_is_taken() {
        let text =
            "nginx\n  Depends: libc6\n |Depends: a\n  Depends: b\n  Depends: <virtual>\n    real\n  Depends: c\n";
        assert_eq!(dependencies(text), ["libc6", "a", "c"]);
    }
}
