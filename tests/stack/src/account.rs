//! The account that PostgreSQL runs under: it refuses to be root.

use std::{fs, io, os::unix::process::CommandExt, process::Command};

/// The account of the child processes: one's own, or for root an unprivileged
/// one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// Whether a child has to leave root's account for this one.
    switch: bool,
}

impl Account {
    /// One's own account.
    pub(crate) fn own() -> Account {
        Account {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            switch: false,
        }
    }

    /// One's own account, or `postgres` or `nobody` where that is root.
    pub(crate) fn unprivileged() -> io::Result<Account> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Account::own());
        }
        let accounts = fs::read_to_string("/etc/passwd")?;
        let (uid, gid) = find(&accounts, "postgres")
            .or_else(|| find(&accounts, "nobody"))
            .ok_or_else(|| {
                io::Error::other("PostgreSQL cannot run as root, and there is no user nobody")
            })?;
        Ok(Account {
            uid,
            gid,
            switch: true,
        })
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn gid(&self) -> u32 {
        self.gid
    }

    /// A command that will run under this account, with messages in English.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").current_dir("/");
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

/// The user and group number of `name` in the text of a passwd file.
fn find(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\nnobody2:x:7:8::/:\nnobody:x:65534:65533::/:\n";
        assert_eq!(super::find(accounts, "nobody"), Some((65534, 65533)));
        assert_eq!(super::find(accounts, "postgres"), None);
    }
}
