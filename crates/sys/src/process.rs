//! Processes: splitting in two, what children don't inherit, being woken by signals.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::event::EventfdFlags;

/// Which of the two processes after [`split`] this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that was there before.
    Parent,
    /// The new one, with a copy of everything.
    Child,
}

/// Splits the process in two (`fork(2)`).
///
/// # Errors
/// If the process has more than one thread: of the others only their locks would be in the child. Otherwise
/// what the kernel says.
pub fn split() -> io::Result<Side> {
    // The directory has a subdirectory for each thread, and counts them.
    let threads = fs::metadata("/proc/self/task")?.nlink().saturating_sub(2);
    if threads != 1 {
        return Err(io::Error::other("a process with threads can't be split"));
    }
    // SAFETY: the process has one thread, this one, so the child has no lock whose owner is missing.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        _ => Ok(Side::Parent),
    }
}

/// No descriptor from number 3 on, whoever opened it, is inherited by programs started from now on.
///
/// # Errors
/// What the kernel says; before 5.11 it does not know how.
pub fn keep_descriptors_from_children() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: with this flag nothing is closed, only marked, and the call takes no pointers.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to a process that the caller knows to be its own: a child that it has not reaped.
///
/// # Errors
/// What the kernel says: the number is no signal, or there is no such process.
pub fn signal(pid: rustix::process::Pid, number: i32) -> io::Result<()> {
    // SAFETY: the call takes no pointers; a `Pid` is never 0 or negative, which would mean many.
    match unsafe { libc::kill(pid.as_raw_pid(), number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The descriptor that the handler writes to; -1 before there is one.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// From now on these signals do nothing but make the descriptor that is returned readable. Children have
/// them as if nothing had been said about them: a handler, unlike being ignored, is not inherited.
///
/// The first call counts for the life of the process.
///
/// # Errors
/// What the kernel says: a number is no signal, or one that can't be caught. `AlreadyExists` the second time.
pub fn wake_on(signals: &[i32]) -> io::Result<OwnedFd> {
    let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // The handler's own descriptor, which is never closed.
    let for_handler = rustix::io::fcntl_dupfd_cloexec(&wake, 3)?;
    let first = WAKE.compare_exchange(
        -1,
        for_handler.as_raw_fd(),
        Ordering::SeqCst,
        Ordering::SeqCst,
    );
    if first.is_err() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let _never_closed = std::os::fd::IntoRawFd::into_raw_fd(for_handler);
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: all zeros is a valid `sigaction`: no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
    for number in signals {
        // SAFETY: the handler makes only a system call that is allowed in handlers, and restores
        // `errno`; `action` is valid, and the old action is not asked for.
        let done = unsafe { libc::sigaction(*number, &raw const action, std::ptr::null_mut()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(wake)
}

extern "C" fn on_signal(_number: libc::c_int) {
    // SAFETY: the address of this thread's `errno` is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    let before = unsafe { *errno };
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the descriptor is open for ever, and 8 bytes of `one` are valid. A counter that is full
    // refuses, and is readable.
    unsafe { libc::write(WAKE.load(Ordering::SeqCst), one.as_ptr().cast(), one.len()) };
    // SAFETY: see above.
    unsafe { *errno = before };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_split() {
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(split().is_err());
        drop(end);
        assert!(thread.join().is_ok());
    }

    #[test]
    fn a_signal_wakes_and_a_child_has_it_by_default() {
        let wake = wake_on(&[libc::SIGUSR1, libc::SIGTERM]).expect("two signals");
        assert!(wake_on(&[]).is_err());
        let mut count = [0; 8];
        assert!(rustix::io::read(&wake, &mut count).is_err());
        let ourselves = rustix::process::getpid();
        signal(ourselves, libc::SIGUSR1).expect("sent");
        // Another thread may have got it.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(rustix::io::read(&wake, &mut count), Ok(8));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        let pid = rustix::process::Pid::from_child(&child);
        signal(pid, libc::SIGTERM).expect("sent");
        let status = child.wait().expect("ended");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGTERM)
        );
        assert!(signal(ourselves, 1000).is_err());
    }

    #[test]
    fn descriptors_are_marked() {
        let file = fs::File::open("/dev/null").expect("there");
        let inherited = rustix::io::dup(&file).expect("room for one");
        keep_descriptors_from_children().expect("a kernel since 5.11");
        let flags = rustix::io::fcntl_getfd(&inherited).expect("open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
