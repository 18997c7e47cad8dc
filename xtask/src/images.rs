//! Test images packed from Debian packages, so that tests need no registry.

mod archive;
mod package;

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

/// What an image is made of.
struct Image {
    name: &'static str,
    tags: &'static [&'static str],
    packages: &'static [&'static str],
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
    ports: &'static [&'static str],
    finish: fn(&Path) -> std::io::Result<()>,
}

const IMAGES: &[Image] = &[
    Image {
        name: "busybox",
        tags: &["docker.io/library/busybox:latest", "docker.io/library/busybox:1.35"],
        packages: &[],
        entrypoint: &[],
        command: &["sh"],
        ports: &[],
        finish: |_| Ok(()),
    },
    Image {
        name: "nginx",
        tags: &["docker.io/library/nginx:latest", "docker.io/library/nginx:1.22"],
        packages: &["nginx-light"],
        entrypoint: &[],
        command: &["nginx", "-g", "daemon off;"],
        ports: &["80/tcp"],
        finish: finish_nginx,
    },
    Image {
        name: "redis",
        tags: &["docker.io/library/redis:latest", "docker.io/library/redis:7"],
        packages: &["redis-server"],
        entrypoint: &[],
        command: &["redis-server", "--protected-mode", "no", "--dir", "/data"],
        ports: &["6379/tcp"],
        finish: |root| fs::create_dir_all(root.join("data")),
    },
];

/// Packs every image that is not there yet into `directory`.
pub(crate) fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    for image in IMAGES {
        let target = directory.join(format!("{}.tar", image.name));
        if target.exists() {
            println!("{} is there", target.display());
            continue;
        }
        let work = tempfile::tempdir()?;
        let root = work.path().join("root");
        base(&root)?;
        package::unpack(image.packages, work.path(), &root)?;
        (image.finish)(&root)?;
        archive::write(&root, &config(image), image.tags, &target)?;
        println!("packed {} ({} KiB)", target.display(), fs::metadata(&target)?.len() / 1024);
    }
    Ok(())
}

fn config(image: &Image) -> serde_json::Value {
    let ports: serde_json::Map<String, serde_json::Value> =
        image.ports.iter().map(|port| (port.to_string(), json!({}))).collect();
    let mut config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": image.command,
        "ExposedPorts": ports,
        "StopSignal": if image.name == "nginx" { "SIGQUIT" } else { "SIGTERM" },
    });
    if !image.entrypoint.is_empty() {
        config["Entrypoint"] = json!(image.entrypoint);
    }
    config
}

/// A root file system with busybox as its shell and tools, merged-usr as Debian has it.
fn base(root: &Path) -> Result<(), Box<dyn Error>> {
    for directory in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "var/log", "var/lib", "run", "root"]
    {
        fs::create_dir_all(root.join(directory))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    symlink("../run", root.join("var/run"))?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n")?;
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    let work = tempfile::tempdir()?;
    let unpacked = work.path().join("busybox");
    package::unpack(&["busybox-static"], work.path(), &unpacked)?;
    let binary = [unpacked.join("bin/busybox"), unpacked.join("usr/bin/busybox")]
        .into_iter()
        .find(|path| path.exists())
        .ok_or("busybox-static has no busybox")?;
    fs::copy(&binary, root.join("usr/bin/busybox"))?;
    for applet in package::output(std::process::Command::new(&binary).arg("--list"))?.lines() {
        let link = root.join("usr/bin").join(applet);
        if applet != "busybox" {
            symlink("busybox", link)?;
        }
    }
    Ok(())
}

fn finish_nginx(root: &Path) -> std::io::Result<()> {
    for directory in ["var/log/nginx", "var/lib/nginx", "usr/share/nginx/html", "etc/nginx/conf.d"] {
        fs::create_dir_all(root.join(directory))?;
    }
    symlink_force("/dev/stdout", &root.join("var/log/nginx/access.log"))?;
    symlink_force("/dev/stderr", &root.join("var/log/nginx/error.log"))?;
    fs::write(root.join("etc/nginx/nginx.conf"), NGINX)?;
    fs::write(root.join("usr/share/nginx/html/index.html"), "<h1>Welcome to nginx!</h1>\n")
}

fn symlink_force(target: &str, link: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(link).is_ok() {
        fs::remove_file(link)?;
    }
    symlink(target, link)
}

const NGINX: &str = "\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events { worker_connections 256; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    server {
        listen 80;
        root /usr/share/nginx/html;
        index index.html;
    }
    include /etc/nginx/conf.d/*.conf;
}
";
