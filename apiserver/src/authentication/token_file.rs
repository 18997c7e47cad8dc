//! Tokens from a file, one a line: `token,user,uid,"group1,group2"` (`tokenfile.NewCSV` in apiserver).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::UserInfo;
use sha2::{Digest, Sha256};

/// Why a token file was refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("token file {path:?}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line has too few columns.
    #[error("token file must have at least 3 columns (token, user name, user uid), found {0}")]
    Columns(usize),
    /// A quote is not closed, or stands where none may.
    #[error("token file line {0}: bad quoting")]
    Quoting(usize),
}

/// The users of a token file. Tokens are kept as digests, so that looking one up takes no time that depends on it.
#[derive(Debug, Default)]
pub struct TokenFile {
    users: HashMap<[u8; 32], Arc<UserInfo>>,
}

impl TokenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TokenFileError`].
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TokenFileError::Read { path: path.into(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a file. A line without a token is skipped; of two equal tokens the later counts.
    ///
    /// # Errors
    /// [`TokenFileError::Columns`], [`TokenFileError::Quoting`].
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = columns(line).ok_or(TokenFileError::Quoting(number + 1))?;
            if record.len() < 3 {
                return Err(TokenFileError::Columns(record.len()));
            }
            if record[0].is_empty() {
                tracing::warn!(line = number + 1, "empty token in the token file");
                continue;
            }
            let groups: Vec<&str> = record.get(3).map(|groups| groups.split(',').collect()).unwrap_or_default();
            let mut user = UserInfo::new(record[1].as_str(), &groups);
            user.uid = record[2].clone();
            users.insert(Sha256::digest(record[0].as_bytes()).into(), Arc::new(user));
        }
        Ok(Self { users })
    }

    /// Whose token this is.
    pub fn user(&self, token: &str) -> Option<Arc<UserInfo>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.users.get(&digest).cloned()
    }
}

/// The columns of a line of comma-separated values; none if it is misquoted.
fn columns(line: &str) -> Option<Vec<String>> {
    let mut columns = Vec::new();
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (column, after) = rest.split_once(',').map_or((rest, None), |(column, after)| (column, Some(after)));
            if column.contains('"') {
                return None;
            }
            columns.push(column.to_string());
            match after {
                Some(after) => rest = after,
                None => return Some(columns),
            }
            continue;
        };
        let mut column = String::new();
        let mut inside = quoted;
        loop {
            let (part, after) = inside.split_once('"')?;
            column.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    column.push('"');
                    inside = after;
                }
                None => {
                    inside = after;
                    break;
                }
            }
        }
        columns.push(column);
        match inside.strip_prefix(',') {
            Some(after) => rest = after,
            None => return inside.is_empty().then_some(columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, token: &str, expected: Option<(&str, &str, &[&str])>) {
        let found = TokenFile::parse(text).unwrap().user(token);
        let found = found.map(|user| (user.username.clone(), user.uid.clone(), user.groups.clone()));
        let expected = expected.map(|(name, uid, groups)| {
            let groups = groups.iter().map(|group| group.to_string()).collect::<Vec<_>>();
            (name.to_string(), uid.to_string(), groups)
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lines_become_users() {
        check("t,u,1", "t", Some(("u", "1", &["system:authenticated"])));
        check("t,u,1,\"a,b\"\nx,y,2\n", "t", Some(("u", "1", &["a", "b", "system:authenticated"])));
        check("t,u,1,\"a,b\"\nx,y,2\n", "x", Some(("y", "2", &["system:authenticated"])));
        check("t,\"u \"\"q\"\"\",1,g", "t", Some(("u \"q\"", "1", &["g", "system:authenticated"])));
        check(",u,1\n", "", None);
        check("t,u,1", "tt", None);
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(matches!(TokenFile::parse("t,u"), Err(TokenFileError::Columns(2))));
        assert!(matches!(TokenFile::parse("a,b,c\nt,u,1,\"a"), Err(TokenFileError::Quoting(2))));
        assert!(matches!(TokenFile::parse("t,u,1,\"a\"b"), Err(TokenFileError::Quoting(1))));
    }
}
