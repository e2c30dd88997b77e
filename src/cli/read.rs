//! Text files as the editors and shells of any system write them.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The text of a file.
pub(super) fn text(path: &Path) -> io::Result<String> {
    text_of(File::open(path)?)
}

/// The text of a file that is open.
pub(super) fn text_of(mut source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    decode(bytes).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// Without the byte order mark. Windows PowerShell begins UTF-8 with one, and what `>` writes is UTF-16:
/// <https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_character_encoding>
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [0xef, 0xbb, 0xbf, text @ ..] => utf_8(text.to_vec()),
        [0xff, 0xfe, text @ ..] => utf_16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf_16(text, u16::from_be_bytes),
        _ => utf_8(bytes),
    }
}

fn utf_8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8")
    })
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let units = bytes
        .chunks(2)
        .map(|pair| Some(unit(pair.try_into().ok()?)));
    let text = units
        .collect::<Option<Vec<_>>>()
        .and_then(|units| String::from_utf16(&units).ok());
    text.ok_or_else(|| "it begins as UTF-16 and is not".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shells_and_editors_of_windows_write_is_read() {
        let utf_16 = |unit: fn(u16) -> [u8; 2]| {
            let units = "\u{feff}sb_é😀\r\n".encode_utf16();
            units.flat_map(unit).collect::<Vec<_>>()
        };
        for bytes in [
            "sb_é😀\r\n".as_bytes(),
            "\u{feff}sb_é😀\r\n".as_bytes(),
            &utf_16(u16::to_le_bytes),
            &utf_16(u16::to_be_bytes),
        ] {
            assert_eq!(text_of(bytes).unwrap(), "sb_é😀\r\n");
        }
        for bytes in [
            &b"\xff"[..],
            b"\xef\xbb\xbf\xff",
            b"\xff\xfea",
            b"\xff\xfe\x00\xd8",
        ] {
            assert!(text_of(bytes).is_err(), "{bytes:?}");
        }
        let error = text_of(&b"A=b\n# Gr\xfc\xdfe\nC=d\n"[..]).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is not UTF-8");
    }
}
