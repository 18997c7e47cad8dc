//! The built-in pause image: the process that holds a pod's namespaces, made here byte by byte.
//!
//! No toolchain and no network is needed to make it. The program is one static x86-64 ELF file of a few hundred bytes
//! that sets handlers for SIGINT and SIGTERM that exit with 0 and one for SIGCHLD that reaps what is left to it as
//! process 1, and then waits in `pause(2)`.

use super::archive::{Blob, ImageSpec, Layer};

/// The name under which the runtime looks for the sandbox image: that of this version of Kubernetes (`PauseVersion` in
/// kubeadm's constants).
pub const NAME: &str = "registry.k8s.io/pause:3.10.2";

/// Where the program's only segment lies in memory.
const BASE: u64 = 0x0040_0000;
/// Bytes of the ELF header and of the one program header.
const HEADER_BYTES: u64 = 64 + 56;

/// Machine code of the program. Numbers are Linux system calls of x86-64.
///
/// ```text
/// start:    for each (signal, handler): rt_sigaction(signal, &action, NULL, 8)
/// wait:     pause(); jmp wait
/// on_exit:  exit(0)
/// on_child: do { } while (wait4(-1, NULL, WNOHANG, NULL) > 0); ret
/// restore:  rt_sigreturn()
/// ```
///
/// The `sigaction` structure is built on the stack: handler, flags (`SA_RESTORER`), restorer, mask.
fn code() -> Vec<u8> {
    const SIGNALS: [(u8, Handler); 3] = [(2, Handler::Exit), (15, Handler::Exit), (17, Handler::Reap)];
    // Each registration has a fixed length, so the addresses behind them are known before they are written.
    const REGISTRATION_BYTES: u64 = 56;
    let code_base = BASE + HEADER_BYTES;
    let wait = code_base + REGISTRATION_BYTES * SIGNALS.len() as u64;
    let on_exit = wait + 9;
    let on_child = on_exit + 9;
    let restore = on_child + 29;
    let mut code = Vec::new();
    for (signal, handler) in SIGNALS {
        let handler = match handler {
            Handler::Exit => on_exit,
            Handler::Reap => on_child,
        };
        code.extend_from_slice(&registration(signal, handler, restore));
    }
    // mov eax, 34 (pause); syscall; jmp -9
    code.extend_from_slice(&[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
    // xor edi, edi; mov eax, 60 (exit); syscall
    code.extend_from_slice(&[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    // again: mov rdi, -1; xor esi, esi; mov edx, 1 (WNOHANG); xor r10d, r10d; mov eax, 61 (wait4); syscall
    code.extend_from_slice(&[0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff, 0x31, 0xf6, 0xba, 1, 0, 0, 0]);
    code.extend_from_slice(&[0x45, 0x31, 0xd2, 0xb8, 61, 0, 0, 0, 0x0f, 0x05]);
    // test eax, eax; jg again; ret
    code.extend_from_slice(&[0x85, 0xc0, 0x7f, 0xe4, 0xc3]);
    // mov eax, 15 (rt_sigreturn); syscall
    code.extend_from_slice(&[0xb8, 15, 0, 0, 0, 0x0f, 0x05]);
    code
}

enum Handler {
    Exit,
    Reap,
}

/// `rt_sigaction(signal, {handler, SA_RESTORER, restore, 0}, NULL, 8)`.
fn registration(signal: u8, handler: u64, restore: u64) -> Vec<u8> {
    let imm32 = |address: u64| u32::try_from(address).expect("the program lies below 4 GiB").to_le_bytes();
    let mut code = Vec::new();
    // push 0 (mask)
    code.extend_from_slice(&[0x6a, 0x00]);
    // mov eax, restore; push rax
    code.push(0xb8);
    code.extend_from_slice(&imm32(restore));
    code.push(0x50);
    // mov eax, 0x04000000 (SA_RESTORER); push rax
    code.extend_from_slice(&[0xb8, 0x00, 0x00, 0x00, 0x04, 0x50]);
    // mov eax, handler; push rax
    code.push(0xb8);
    code.extend_from_slice(&imm32(handler));
    code.push(0x50);
    // mov edi, signal; mov rsi, rsp; xor edx, edx; mov r10d, 8; mov eax, 13 (rt_sigaction); syscall
    code.extend_from_slice(&[0xbf, signal, 0, 0, 0, 0x48, 0x89, 0xe6, 0x31, 0xd2]);
    code.extend_from_slice(&[0x41, 0xba, 8, 0, 0, 0, 0xb8, 13, 0, 0, 0, 0x0f, 0x05]);
    // add rsp, 32; then padding of nop to the fixed length
    code.extend_from_slice(&[0x48, 0x83, 0xc4, 0x20]);
    code.resize(56, 0x90);
    code
}

/// The whole ELF file.
pub fn program() -> Vec<u8> {
    let code = code();
    let length = HEADER_BYTES + code.len() as u64;
    let mut file = Vec::new();
    // Identification: 64 bit, little endian, version 1, System V.
    file.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend_from_slice(&2u16.to_le_bytes()); // an executable
    file.extend_from_slice(&62u16.to_le_bytes()); // x86-64
    file.extend_from_slice(&1u32.to_le_bytes()); // version
    file.extend_from_slice(&(BASE + HEADER_BYTES).to_le_bytes()); // entry
    file.extend_from_slice(&64u64.to_le_bytes()); // program headers
    file.extend_from_slice(&0u64.to_le_bytes()); // no section headers
    file.extend_from_slice(&0u32.to_le_bytes()); // flags
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes()); // sizes and counts of headers
    }
    file.extend_from_slice(&1u32.to_le_bytes()); // a segment to load
    file.extend_from_slice(&5u32.to_le_bytes()); // readable and executable
    for word in [0, BASE, BASE, length, length, 0x1000] {
        file.extend_from_slice(&word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    file.extend_from_slice(&code);
    file
}

/// The image: one layer with the program, as an OCI layout in a tar archive.
pub fn archive() -> Vec<u8> {
    let layer = Layer { files: vec![Blob { path: "pause".to_owned(), mode: 0o755, bytes: program() }] };
    super::archive::write(&ImageSpec {
        name: NAME.to_owned(),
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        layers: vec![layer],
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::OpenOptionsExt, process::Command};

    use super::*;

    #[test]
    fn the_program_waits_and_ends_on_sigterm() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pause");
        let mut file =
            std::fs::OpenOptions::new().create_new(true).write(true).mode(0o755).open(&path).expect("a file");
        file.write_all(&program()).expect("written");
        drop(file);
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            let mut child = Command::new(&path).spawn().expect("the kernel takes the program");
            let pid = rustix::process::Pid::from_child(&child);
            std::thread::sleep(std::time::Duration::from_millis(50));
            rustix::process::kill_process(pid, rustix::process::Signal::CHILD).expect("it runs");
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(child.try_wait().expect("a child").is_none(), "it waits, also after SIGCHLD");
            rustix::process::kill_process(pid, signal).expect("it runs");
            assert_eq!(child.wait().expect("a child").code(), Some(0));
        }
    }
}
