//! Where the last lines of a file begin.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// How much is read at once, from the end backwards.
const BLOCK_BYTES: u64 = 64 << 10;

/// The position of the last `lines` lines. A last line without its end counts.
pub(super) fn start_of(file: &mut File, lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut position = end;
    let mut block = Vec::new();
    while position > 0 {
        let start = position.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        block.resize(usize::try_from(position - start).map_err(io::Error::other)?, 0);
        file.read_exact(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + at as u64 + 1;
            if after == end {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(after);
            }
        }
        position = start;
    }
    Ok(0)
}
