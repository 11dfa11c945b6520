//! The system calls of a server that serves.
//!
//! Measured with glibc: the tests of the program pass behind this list (`MULTICLIENT_TESTS_WALLS=strict`). The
//! calls that musl prefers are from its source, and no test has run with it.

use libc::c_long;

use When::{Is, Null, OwnProcess, With, Without};

/// A call, and what its arguments must be. Nothing: anything.
pub(super) type Call = (c_long, &'static [When]);

/// What an argument must be. The first is 0. All but [`When::Null`] look at its lower 32 bits, as the kernel
/// does for these calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// One of these values.
    Is(u8, &'static [u32]),
    /// A null pointer.
    Null(u8),
    /// All of these bits are set.
    With(u8, u32),
    /// None of these bits is set.
    Without(u8, u32),
    /// The number of this process.
    OwnProcess(u8),
}

const CLONE_THREAD: u32 = libc::CLONE_THREAD.unsigned_abs();
const SOL_SOCKET: u32 = libc::SOL_SOCKET.unsigned_abs();
const SO_LINGER: u32 = libc::SO_LINGER.unsigned_abs();
const PROT_EXEC: u32 = libc::PROT_EXEC.unsigned_abs();

/// What is allowed. Everything else is refused with `ENOSYS`.
pub(super) const ALLOWED: &[Call] = &[
    // Clients: they are accepted, read from, written to, and let go.
    (libc::SYS_accept4, &[]),
    (libc::SYS_recvfrom, &[]),
    (libc::SYS_sendto, &[]),
    (libc::SYS_sendfile, &[]),
    // Its sending side only. The receiving side of a socket that listens would make it one that can be connected,
    // by `sendto` with MSG_FASTOPEN: Landlock does not look at that, and here it would take a look at each send.
    (libc::SYS_shutdown, &[Is(1, &[SHUT_WR])]),
    (libc::SYS_close, &[]),
    (libc::SYS_getsockname, &[]),
    (libc::SYS_getpeername, &[]),
    // Sockets inherit their options from those that listen, so only one is set here: that a response which breaks
    // off ends with a reset. Others attach filters and load protocols.
    (libc::SYS_setsockopt, &[Is(1, &[SOL_SOCKET]), Is(2, &[SO_LINGER])]),
    (libc::SYS_getsockopt, &[]),
    // How much has come, how much has left, and without waiting. The last: whether the terminal is still there
    // that SIGHUP tells of.
    (libc::SYS_ioctl, &[Is(1, &[FIONREAD, TIOCOUTQ, FIONBIO, TIOCGPGRP])]),
    // Sources, beneath a folder and never out of it.
    (libc::SYS_openat2, &[]),
    // Files that are named by the operator, FIFOs whose writer comes back, capsules.
    (libc::SYS_openat, &[]),
    (libc::SYS_newfstatat, &[]),
    (libc::SYS_statx, &[]),
    (libc::SYS_fstat, &[]),
    (libc::SYS_faccessat, &[]),
    (libc::SYS_getdents64, &[]),
    (libc::SYS_readlinkat, &[]),
    (libc::SYS_lseek, &[]),
    (libc::SYS_read, &[]),
    (libc::SYS_pread64, &[]),
    // Whether a file is in memory, or on a disk that may be waited for.
    (libc::SYS_preadv2, &[]),
    (libc::SYS_fstatfs, &[]),
    (libc::SYS_write, &[]),
    (libc::SYS_pwrite64, &[]),
    (libc::SYS_writev, &[]),
    // The last: a live source's pipe is made as large as the system lets it.
    (libc::SYS_fcntl, &[Is(1, &[F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ])]),
    // The memory of live sources and of what is piped in: made, and given back from its beginning on.
    (libc::SYS_memfd_create, &[]),
    (libc::SYS_fallocate, &[]),
    (libc::SYS_ftruncate, &[]),
    // Files that are still written.
    (libc::SYS_inotify_init1, &[]),
    (libc::SYS_inotify_add_watch, &[]),
    (libc::SYS_inotify_rm_watch, &[]),
    // Capsules get their name when they are whole; a unix socket is removed in the end.
    (libc::SYS_renameat, &[]),
    (libc::SYS_unlinkat, &[]),
    // Event loops.
    (libc::SYS_epoll_create1, &[]),
    (libc::SYS_epoll_ctl, &[]),
    (libc::SYS_epoll_pwait, &[]),
    (libc::SYS_eventfd2, &[]),
    (libc::SYS_ppoll, &[]),
    // Clocks, where the machine's cannot be read without a call.
    (libc::SYS_clock_gettime, &[]),
    (libc::SYS_clock_nanosleep, &[]),
    (libc::SYS_nanosleep, &[]),
    // Threads: for listings and for what a slow disk keeps waiting.
    (libc::SYS_clone, &[With(0, CLONE_THREAD)]),
    (libc::SYS_set_robust_list, &[]),
    (libc::SYS_rseq, &[]),
    (libc::SYS_sigaltstack, &[]),
    // A thread's name; where the kernel has put what it tells each process (rustix asks when it first needs it).
    (libc::SYS_prctl, &[Is(0, &[PR_SET_NAME, PR_GET_AUXV])]),
    (libc::SYS_sched_getaffinity, &[]),
    (libc::SYS_sched_yield, &[]),
    (libc::SYS_futex, &[]),
    (libc::SYS_gettid, &[]),
    (libc::SYS_exit, &[]),
    // Memory: of the host, and of guests as they grow and go.
    (libc::SYS_mmap, &[]),
    (libc::SYS_munmap, &[]),
    (libc::SYS_mremap, &[]),
    (libc::SYS_mprotect, &[]),
    (libc::SYS_madvise, &[]),
    (libc::SYS_brk, &[]),
    (libc::SYS_getrandom, &[]),
    // Where machine code is loaded later: all cores are to see it (aarch64).
    (libc::SYS_membarrier, &[]),
    // Signals: a guest's trap is one, and so is the order to stop.
    (libc::SYS_rt_sigaction, &[]),
    (libc::SYS_rt_sigprocmask, &[]),
    (libc::SYS_rt_sigreturn, &[]),
    (libc::SYS_restart_syscall, &[]),
    // A panic that ends the process, and its end.
    (libc::SYS_getpid, &[]),
    (libc::SYS_tgkill, &[OwnProcess(0)]),
    (libc::SYS_exit_group, &[]),
    // What the limits are, and not to change them.
    (libc::SYS_prlimit64, &[Is(0, &[0]), Null(2)]),
    (libc::SYS_getrusage, &[]),
    // The older names of calls above, which other machines do not have. musl prefers them.
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_lstat, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_access, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, &[]),
];

/// What is allowed as well where another server may take over. Not to connect with: Landlock does not look at that.
pub(super) const PASSES_DESCRIPTORS: &[Call] = &[(libc::SYS_sendmsg, &[Without(2, MSG_FASTOPEN)])];

/// What ends the process: nobody calls these by mistake.
pub(super) const DEADLY: &[Call] = &[
    // Other programs and processes.
    (libc::SYS_execve, &[]),
    (libc::SYS_execveat, &[]),
    (libc::SYS_clone, &[Without(0, CLONE_THREAD)]),
    (libc::SYS_ptrace, &[]),
    (libc::SYS_process_vm_readv, &[]),
    (libc::SYS_process_vm_writev, &[]),
    (libc::SYS_pidfd_open, &[]),
    (libc::SYS_pidfd_getfd, &[]),
    (libc::SYS_pidfd_send_signal, &[]),
    (libc::SYS_kcmp, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_fork, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_vfork, &[]),
    // The network.
    (libc::SYS_socket, &[]),
    (libc::SYS_connect, &[]),
    (libc::SYS_bind, &[]),
    (libc::SYS_listen, &[]),
    // Large parts of the kernel that serving does not need, and attacks on it do.
    (libc::SYS_io_uring_setup, &[]),
    (libc::SYS_io_uring_enter, &[]),
    (libc::SYS_io_uring_register, &[]),
    (libc::SYS_bpf, &[]),
    (libc::SYS_userfaultfd, &[]),
    (libc::SYS_perf_event_open, &[]),
    (libc::SYS_add_key, &[]),
    (libc::SYS_request_key, &[]),
    (libc::SYS_keyctl, &[]),
    // Namespaces, mounts and the rest that belongs to who runs the machine.
    (libc::SYS_unshare, &[]),
    (libc::SYS_setns, &[]),
    (libc::SYS_mount, &[]),
    (libc::SYS_umount2, &[]),
    (libc::SYS_move_mount, &[]),
    (libc::SYS_open_tree, &[]),
    (libc::SYS_fsopen, &[]),
    (libc::SYS_fsmount, &[]),
    (libc::SYS_fsconfig, &[]),
    (libc::SYS_mount_setattr, &[]),
    (libc::SYS_pivot_root, &[]),
    (libc::SYS_chroot, &[]),
    (libc::SYS_open_by_handle_at, &[]),
    (libc::SYS_init_module, &[]),
    (libc::SYS_finit_module, &[]),
    (libc::SYS_kexec_load, &[]),
    // The exec domain can make all readable memory executable.
    (libc::SYS_personality, &[]),
];

/// What ends the process where machine code is not loaded any more.
pub(super) const MAKES_CODE: &[Call] = &[
    (libc::SYS_mmap, &[With(2, PROT_EXEC)]),
    (libc::SYS_mprotect, &[With(2, PROT_EXEC)]),
    (libc::SYS_pkey_mprotect, &[With(2, PROT_EXEC)]),
];

// `libc` has these as types that differ between C libraries.
const FIONREAD: u32 = libc::FIONREAD as u32;
const TIOCOUTQ: u32 = libc::TIOCOUTQ as u32;
const MSG_FASTOPEN: u32 = libc::MSG_FASTOPEN.unsigned_abs();
const FIONBIO: u32 = libc::FIONBIO as u32;
const SHUT_WR: u32 = libc::SHUT_WR.unsigned_abs();
const TIOCGPGRP: u32 = libc::TIOCGPGRP as u32;
const F_GETFD: u32 = libc::F_GETFD.unsigned_abs();
const F_SETFD: u32 = libc::F_SETFD.unsigned_abs();
const F_GETFL: u32 = libc::F_GETFL.unsigned_abs();
const F_SETFL: u32 = libc::F_SETFL.unsigned_abs();
const F_DUPFD_CLOEXEC: u32 = libc::F_DUPFD_CLOEXEC.unsigned_abs();
const F_SETPIPE_SZ: u32 = libc::F_SETPIPE_SZ.unsigned_abs();
/// `PR_GET_AUXV` of Linux 6.4.
const PR_GET_AUXV: u32 = 0x4155_5856;
const PR_SET_NAME: u32 = libc::PR_SET_NAME.unsigned_abs();
