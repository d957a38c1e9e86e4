//! The subject of a certificate as Java writes it (RFC 2253), which is the id of the `x509` scheme in ACLs.
//!
//! `CN=client,OU=team,O=Example,C=DE`: last relative name first; attributes without a name in RFC 2253 by their number,
//! with the value in hexadecimal. The certificate was checked before; it still cannot make this code panic.

use std::fmt::Write;

/// Bytes of the longest subject that is worth a name.
const SUBJECT_BYTES_MAX: usize = 16 * 1024;

/// The certificate is not one, or its subject is out of all proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate has no readable subject")]
pub struct MalformedSubject;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;
/// UTF8, Printable, T61, IA5, General, Universal and BMP strings: what Java shows as text.
const STRINGS: [u8; 7] = [0x0c, 0x13, 0x14, 0x16, 0x1b, 0x1c, 0x1e];

/// The attributes RFC 2253 has names for.
const NAMES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
];

/// The subject of a DER certificate.
pub fn subject(certificate: &[u8]) -> Result<String, MalformedSubject> {
    let mut outer = Der(certificate);
    let mut certificate = Der(outer.expect(SEQUENCE)?);
    let mut fields = Der(certificate.expect(SEQUENCE)?);
    if fields.0.first() == Some(&EXPLICIT_VERSION) {
        fields.next()?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields.next()?;
    }
    let subject = fields.expect(SEQUENCE)?;
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(MalformedSubject);
    }
    let mut names = Vec::new();
    let mut sequence = Der(subject);
    while !sequence.0.is_empty() {
        names.push(relative_name(sequence.expect(SET)?)?);
    }
    names.reverse();
    Ok(names.join(","))
}

fn relative_name(set: &[u8]) -> Result<String, MalformedSubject> {
    let mut text = String::new();
    let mut set = Der(set);
    while !set.0.is_empty() {
        if !text.is_empty() {
            text.push('+');
        }
        let mut attribute = Der(set.expect(SEQUENCE)?);
        let kind = attribute.expect(OBJECT_IDENTIFIER)?;
        let whole = attribute.0;
        let (tag, value) = attribute.next()?;
        let whole = &whole[..whole.len() - attribute.0.len()];
        let name = NAMES.iter().find(|(_, identifier)| *identifier == kind).map(|(name, _)| *name);
        match name {
            Some(name) if STRINGS.contains(&tag) => {
                text.push_str(name);
                text.push('=');
                escape(&String::from_utf8_lossy(value), &mut text);
            }
            _ => {
                match name {
                    Some(name) => text.push_str(name),
                    None => dotted(kind, &mut text)?,
                }
                text.push_str("=#");
                for byte in whole {
                    let _ = write!(text, "{byte:02x}");
                }
            }
        }
    }
    Ok(text)
}

/// Java escapes more than it must: `=` and `#` anywhere, and blanks at both ends.
fn escape(value: &str, text: &mut String) {
    let blank = |c: char| c == ' ' || c == '\r';
    let lead = value.len() - value.trim_start_matches(blank).len();
    let trail = value.trim_end_matches(blank).len();
    for (index, c) in value.char_indices() {
        match c {
            '\0' => text.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            _ => {
                if index < lead || index >= trail {
                    text.push('\\');
                }
                text.push(c);
            }
        }
    }
}

/// An object identifier in numbers: seven bits a byte, the first two numbers share one.
fn dotted(identifier: &[u8], text: &mut String) -> Result<(), MalformedSubject> {
    let mut first = true;
    let mut number: u64 = 0;
    for byte in identifier {
        if number >> 56 != 0 {
            return Err(MalformedSubject);
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if first {
                let top = (number / 40).min(2);
                let _ = write!(text, "{top}.{}", number - top * 40);
                first = false;
            } else {
                let _ = write!(text, ".{number}");
            }
            number = 0;
        }
    }
    // Empty, or cut within a number.
    let complete = identifier.last().is_some_and(|byte| byte & 0x80 == 0);
    if complete { Ok(()) } else { Err(MalformedSubject) }
}

/// The rest of a sequence of DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and contents of the next value.
    fn next(&mut self) -> Result<(u8, &'a [u8]), MalformedSubject> {
        let [tag, length, rest @ ..] = self.0 else { return Err(MalformedSubject) };
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x84 => {
                let bytes = usize::from(long - 0x80);
                let (length, rest) = rest.split_at_checked(bytes).ok_or(MalformedSubject)?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return Err(MalformedSubject),
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or(MalformedSubject)?;
        self.0 = rest;
        Ok((*tag, contents))
    }

    fn expect(&mut self, tag: u8) -> Result<&'a [u8], MalformedSubject> {
        match self.next()? {
            (found, contents) if found == tag => Ok(contents),
            _ => Err(MalformedSubject),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match contents.len() {
            short @ 0..=0x7f => bytes.push(short as u8),
            long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        bytes.extend_from_slice(contents);
        bytes
    }

    /// Identifier, string tag, value.
    type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

    /// A certificate, as far as it is read, with the given relative names.
    fn certificate(names: &[&[Attribute<'_>]]) -> Vec<u8> {
        let attribute = |(kind, tag, value): &Attribute<'_>| {
            tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, kind), tlv(*tag, value)].concat())
        };
        let set = |name: &&[Attribute<'_>]| tlv(SET, &name.iter().flat_map(attribute).collect::<Vec<_>>());
        let subject = tlv(SEQUENCE, &names.iter().flat_map(set).collect::<Vec<_>>());
        let empty = tlv(SEQUENCE, &[]);
        let fields = [
            tlv(EXPLICIT_VERSION, &tlv(2, &[2])),
            tlv(2, &[1]),
            empty.clone(),
            empty.clone(),
            empty,
            subject,
        ];
        tlv(SEQUENCE, &tlv(SEQUENCE, &fields.concat()))
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];
    const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

    // The expected texts are what OpenJDK 17's getSubjectX500Principal().getName() printed for such certificates.
    #[test]
    fn as_java_writes_it() {
        let check = |names: &[&[Attribute<'_>]], expected: &str| {
            assert_eq!(subject(&certificate(names)).as_deref(), Ok(expected));
        };
        check(&[&[(O, 0x0c, b"Example")], &[(CN, 0x0c, b"client")]], "CN=client,O=Example");
        check(&[&[(O, 0x13, b"A, B+C=\"D\" <E>;\\#")]], "O=A\\, B\\+C\\=\\\"D\\\" \\<E\\>\\;\\\\\\#");
        check(&[&[(CN, 0x0c, b" # x ")]], "CN=\\ \\# x\\ ");
        check(&[&[(CN, 0x0c, "Jürgen 😀".as_bytes())]], "CN=Jürgen 😀");
        check(&[&[(EMAIL, 0x16, b"a@b.c")]], "1.2.840.113549.1.9.1=#16056140622e63");
        check(&[&[(CN, 0x0c, b"a"), (O, 0x0c, b"b")]], "CN=a+O=b");
        check(&[&[(CN, 0x1e, b"\0a\0b")]], "CN=\\00a\\00b");
        check(&[&[(&[0x55, 4, 5], 0x13, b"123")]], "2.5.4.5=#1303313233");
        check(&[&[(&[0x88, 0x37, 3], 0x13, b"v")]], "2.999.3=#130176");
        check(&[&[(CN, 0x04, &[1, 2])]], "CN=#04020102");
        check(&[&[(CN, 0x0c, b"  ")]], "CN=\\ \\ ");
        check(&[&[(CN, 0x0c, b"a\tb\n\r")]], "CN=a\tb\n\\\r");
        check(&[&[(CN, 0x14, &[0xe9])]], "CN=\u{fffd}");
        check(&[], "");
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let good = certificate(&[&[(CN, 0x0c, b"client")]]);
        for length in 0..good.len() {
            assert_eq!(subject(&good[..length]), Err(MalformedSubject), "{length}");
        }
        let long = vec![b'x'; SUBJECT_BYTES_MAX];
        assert_eq!(subject(&certificate(&[&[(CN, 0x0c, &long)]])), Err(MalformedSubject));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, at in 0usize..60, byte: u8) {
            let _ = subject(&bytes);
            let mut bent = certificate(&[&[(CN, 0x0c, b"client"), (EMAIL, 0x16, b"a@b")]]);
            let index = at % bent.len();
            bent[index] = byte;
            let _ = subject(&bent);
        }
    }
}
