//! Takes from the process what serving does not take.
//!
//! Two walls of the system's own. Landlock: of the file system, nothing but making and removing
//! a socket in its folder; of the network, nothing. It holds for the thread that asks and for those
//! that it starts, so it comes first. Seccomp: of the calls of the system, those that serving takes;
//! the rest fails. It holds for all threads, and comes last.
//!
//! What was opened before stays open.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::refusal::{Refusal, Result};

/// From here on, this thread and those that it starts reach no file that is not open. In the `folders`
/// they can make and remove a socket.
///
/// # Errors
///
/// [`Refusal`] if the system cannot.
pub(super) fn close_files<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Result<()> {
    let cannot = |why: &dyn std::fmt::Display| {
        Refusal::new(format_args!(
            "cannot confine this process: {why}; --sandbox needs Linux 5.13 or newer with Landlock: \
             leave it out, or enable that"
        ))
    };
    // Looked up once, in a file, and known from then on.
    let _ = rustix::param::page_size();
    let all = AccessFs::from_all(ABI::V6);
    let mut ruleset = Ruleset::default()
        // Without these there is no wall.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        // With these it is higher, where there are such.
        .map(|ruleset| ruleset.set_compatibility(CompatLevel::BestEffort))
        .and_then(|ruleset| ruleset.handle_access(all))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(|why| cannot(&why))?;
    for folder in folders {
        let open = PathFd::new(folder).map_err(|why| cannot(&why))?;
        let socket = AccessFs::MakeSock | AccessFs::RemoveFile;
        let rule = PathBeneath::new(open, socket);
        ruleset = ruleset.add_rule(rule).map_err(|why| cannot(&why))?;
    }
    ruleset.restrict_self().map_err(|why| cannot(&why))?;
    Ok(())
}

/// From here on, every thread of this process asks the system for nothing but what serving takes.
/// Whatever else it asks for fails.
///
/// # Errors
///
/// [`Refusal`] if the system cannot.
pub(super) fn close_calls() -> Result<()> {
    let cannot = |why: &dyn std::fmt::Display| {
        Refusal::new(format_args!(
            "cannot confine this process: {why}; --sandbox needs a system with seccomp: leave it \
             out, or enable that"
        ))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|&call| (call, Vec::new())).collect();
    for &(call, argument, value) in CALLS_WITH {
        let only =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
        let rule = only.and_then(|only| SeccompRule::new(vec![only]));
        let rule = rule.map_err(|why| cannot(&why))?;
        rules.entry(call).or_default().push(rule);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let here = std::env::consts::ARCH.try_into();
    let here = here.map_err(|why| cannot(&why))?;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, here);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(|why| cannot(&why))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|why| cannot(&why))
}

/// The calls that serving takes.
const CALLS: &[c_long] = &[
    // Waiting for what is to be done.
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Front-ends and their messages.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    // What is open, and what front-ends send.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_close,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Memory, ours and that of front-ends.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_getrandom,
    // The first steps of threads that were just started.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    // Signals, and the end of threads and of the process.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls that are for so much else, too, with the argument that is to have this value.
const CALLS_WITH: &[(c_long, u8, u64)] = &[
    (libc::SYS_prctl, 0, libc::PR_SET_NAME as u64),
    // Sockets of this machine, for a connection that is made again.
    (libc::SYS_socket, 0, libc::AF_UNIX as u64),
    (libc::SYS_ioctl, 1, libc::FIONBIO),
    // Pages that can be read and written, or not at all: none with a program in it.
    (
        libc::SYS_mprotect,
        2,
        (libc::PROT_READ | libc::PROT_WRITE) as u64,
    ),
    (libc::SYS_mprotect, 2, libc::PROT_READ as u64),
    (libc::SYS_mprotect, 2, libc::PROT_NONE as u64),
];

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::TcpStream;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Run by the next test, in a process of its own.
    #[test]
    #[ignore = "confines the process that runs it"]
    fn tries_everything() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "open").unwrap();
        let open = File::open(&file).unwrap();
        let (sender, orders) = mpsc::channel::<()>();

        close_files(Some(folder.path())).unwrap();
        assert!(File::open(&file).is_err(), "files are closed");
        let path = file.clone();
        let started_before = thread::spawn(move || {
            let _ = orders.recv();
            File::open(path).is_err()
        });
        close_calls().unwrap();
        drop(sender);

        assert!(started_before.join().unwrap(), "to all threads");
        assert!(File::open("/dev/null").is_err() && File::create(&file).is_err());
        assert!(fs::read_dir(folder.path()).is_err() && fs::rename(&file, "x").is_err());
        assert!(Command::new("/bin/true").status().is_err());
        assert!(
            TcpStream::connect("127.0.0.1:1")
                .is_err_and(|error| { error.kind() == std::io::ErrorKind::PermissionDenied })
        );
        // And what serving takes can be done.
        assert_eq!(std::io::read_to_string(open).unwrap(), "open");
        assert!(
            UnixStream::connect(folder.path().join("none"))
                .is_err_and(|error| { error.kind() == std::io::ErrorKind::NotFound })
        );
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_process_that_is_confined_opens_no_file_and_starts_no_program() {
        let name = "serve::sandbox::tests::tries_everything";
        let mut program = Command::new(std::env::current_exe().unwrap());

        let done = program
            .args(["--ignored", "--exact", name])
            .output()
            .unwrap();

        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_socket_can_be_made_in_the_folder_and_nowhere_else() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

        // For this thread alone.
        let made = thread::scope(|scope| {
            let confined = scope.spawn(|| {
                close_files(Some(folder.path())).unwrap();
                [&folder, &other].map(|at| UnixListener::bind(at.path().join("socket")).is_ok())
            });
            confined.join().unwrap()
        });

        assert_eq!(made, [true, false]);
    }
}
