//! Who a container runs as: `user[:group]` and more groups, by the files of its own root.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::error::io_error;
use super::{Error, Result};

/// Files longer than this are not read further.
const FILE_MAX: u64 = 1 << 20;
/// Linux has no higher numbers that are a user's.
const NUMBER_MAX: u32 = i32::MAX.unsigned_abs();

/// Who a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// All its groups: its own first.
    pub groups: Vec<u32>,
}

/// Finds a user by the files in `root`: `user` is as in an image's config, `more` are groups by name or
/// number. Without a user it is root.
///
/// # Errors
/// If a name is not in the files, or the files can't be read. Ones that are not there have no names.
pub fn resolve(root: &Path, user: &str, more: &[String]) -> Result<Identity> {
    let passwd = read_in(root, "etc/passwd")?;
    let group = read_in(root, "etc/group")?;
    find(&passwd, &group, user, more)
}

/// Finds a user in the text of `passwd` and `group`.
fn find(passwd: &str, group: &str, text: &str, more: &[String]) -> Result<Identity> {
    let (user, own_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let asked = if user.is_empty() { "0" } else { user };
    let entry = fields(passwd).find(|fields| fields[0] == asked || fields.get(2) == Some(&asked));
    let entry = entry.unwrap_or_default();
    let listed = |index: usize| entry.get(index).and_then(|text| text.parse::<u32>().ok());
    let uid = match listed(2) {
        Some(uid) => uid,
        None => number(asked)?.ok_or_else(|| Error::NoUser(user.to_owned()))?,
    };
    let gid = match own_group {
        Some(asked) => group_number(group, asked)?,
        None => listed(3).unwrap_or(0),
    };
    let mut groups = vec![gid];
    if let (None, Some(name)) = (own_group, entry.first()) {
        let is_member = |fields: &Vec<&str>| {
            fields
                .get(3)
                .is_some_and(|members| members.split(',').any(|member| member == *name))
        };
        let of = fields(group).filter(is_member);
        groups.extend(of.filter_map(|fields| fields.get(2)?.parse::<u32>().ok()));
    }
    for asked in more {
        groups.push(match group_number(group, asked) {
            Err(Error::NoGroup(name)) => return Err(Error::NoFurtherGroup(name)),
            found => found?,
        });
    }
    let mut unique = Vec::with_capacity(groups.len());
    for gid in groups {
        if !unique.contains(&gid) {
            unique.push(gid);
        }
    }
    Ok(Identity {
        uid,
        gid,
        groups: unique,
    })
}

fn fields(file: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = file.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.split(':').collect())
}

fn group_number(file: &str, asked: &str) -> Result<u32> {
    let entry = fields(file).find(|fields| fields[0] == asked);
    match entry.and_then(|fields| fields.get(2)?.parse().ok()) {
        Some(gid) => Ok(gid),
        None => number(asked)?.ok_or_else(|| Error::NoGroup(asked.to_owned())),
    }
}

/// A number that stands for itself; nothing if it is a name.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= NUMBER_MAX => Ok(Some(number)),
        _ => Err(Error::UserRange(text.to_owned())),
    }
}

/// Reads a file of the root. Its symbolic links lead nowhere but into the root.
fn read_in(root: &Path, path: &str) -> Result<String> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(root, flags, Mode::empty())?;
        rustix::fs::openat2(
            &dir,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    };
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::from(open()?);
        if !file.metadata()?.is_file() {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if is_absent(&error) => Ok(String::new()),
        Err(error) => Err(io_error("read", root.join(path))(error)),
    }
}

/// Whether nothing is there that could be a file: also if a link leads in circles.
fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.kind() == ErrorKind::NotADirectory
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n\napp:x:1000:1001::/:/bin/sh\n7:x:70:71::/:\nodd\n";
    const GROUP: &str =
        "root:x:0:root\nstaff:x:50:app\ngames:x:60:daemon,app\napp:x:1001:\nodd:x\n";

    fn check(user: &str, more: &[&str]) -> std::result::Result<(u32, u32, Vec<u32>), String> {
        let more: Vec<_> = more.iter().map(|&group| group.to_owned()).collect();
        find(PASSWD, GROUP, user, &more)
            .map(|found| (found.uid, found.gid, found.groups))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(check("", &[]), Ok((0, 0, vec![0])));
        assert_eq!(check("app", &[]), Ok((1000, 1001, vec![1001, 50, 60])));
        assert_eq!(check("1000", &[]), Ok((1000, 1001, vec![1001, 50, 60])));
        assert_eq!(check("7", &[]), Ok((70, 71, vec![71])));
        assert_eq!(check("8:9", &[]), Ok((8, 9, vec![9])));
        assert_eq!(check("app:", &[]), Ok((1000, 1001, vec![1001, 50, 60])));
        assert_eq!(check(":staff", &[]), Ok((0, 50, vec![50])));
    }

    #[test]
    fn a_group_of_its_own_choice_and_more() {
        let found = Ok((1000, 0, vec![0, 50, 77]));
        assert_eq!(check("app:root", &["staff", "77", "staff"]), found);
    }

    #[test]
    fn names_that_are_not_there_are_errors() {
        let said = check("nobody", &[]).unwrap_err();
        assert_eq!(
            said,
            "unable to find user nobody: no matching entries in passwd file"
        );
        let said = check("app:nobody", &[]).unwrap_err();
        assert_eq!(
            said,
            "unable to find group nobody: no matching entries in group file"
        );
        assert!(
            check("", &["wheel"])
                .unwrap_err()
                .starts_with("Unable to find group wheel")
        );
        assert!(check("odd", &[]).is_err());
        assert!(
            check("4294967295", &[])
                .unwrap_err()
                .contains("must be in range")
        );
        assert!(check("-1", &[]).is_err());
    }

    #[test]
    fn links_lead_nowhere_but_into_the_root() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(resolve(root.path(), "5", &[]).unwrap().uid, 5);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, root.path().join("etc").join(name)).unwrap();
        };
        link("/etc/passwd", "passwd");
        link("../../../../../etc/other", "group");
        let mut file = File::create(root.path().join("etc/other")).unwrap();
        file.write_all(GROUP.as_bytes()).unwrap();
        assert!(resolve(root.path(), "daemon", &[]).is_err());
        let found = resolve(root.path(), "1:staff", &[]).unwrap();
        assert_eq!((found.uid, found.gid), (1, 50));
    }
}
